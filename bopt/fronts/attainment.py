"""Attainment: what a share of several fronts reach, such as one per random seed."""

from collections.abc import Iterable, Sequence

from bopt.fronts import indicators
from bopt.fronts.front import Front
from bopt.fronts.points import Point


def attainment(
    fronts: Iterable[Front],
    share: float = 0.5,
    columns: Sequence[str] = (),
    *,
    maximize: Sequence[str] = (),
) -> Front:
    """Corners of the region that a share of the fronts dominate.

    The mean of several fronts is not defined, as their points do not correspond. The
    empirical attainment function is: with ``share=0.5`` a point is in the region if at
    least half of the fronts have a point that is as good or better in both columns.
    Shares of 0 and 1 are the best and the worst case.

    Args:
      fronts: one per random seed; those without finite points attain nothing.
      share: from 0 (attained by any front) to 1 (attained by all of them).
      columns: two columns of all fronts; the two objectives by default.
      maximize: those of the columns that are to be maximized; the others are
        minimized.

    Returns:
      A front, sorted by the first column, best first; its points have these columns
      only, the objectives or metrics.

    Raises:
      ImportError: the extra `fronts` is not installed.
      ValueError: no fronts, a share outside [0, 1], another number of columns than two,
        an unknown column, or one to maximize that is not among them.

    Example:
      >>> from bopt.fronts import Front, Point, attainment
      >>> first = Front([Point((), (1, 5)), Point((), (3, 2))])
      >>> second = Front([Point((), (2, 4)), Point((), (4, 1))])
      >>> [point.objectives for point in attainment([first, second], share=1)]
      [(2.0, 5.0), (3.0, 4.0), (4.0, 2.0)]

    Source: V. Grunert da Fonseca, C. M. Fonseca, A. O. Hall, *Inferential performance
    assessment of stochastic optimisers and the attainment function* (EMO 2001).
    """
    fronts = list(fronts)
    if not fronts or not 0 <= share <= 1:
        raise ValueError(
            f"attainment got {len(fronts)} fronts and share={share}; expected at least "
            "1 front, and a share from 0 to 1."
        )
    names = columns or ("objective_0", "objective_1")
    if len(names) != 2 or not set(maximize) <= set(names):
        raise ValueError(
            f"attainment got columns={tuple(names)} and maximize={tuple(maximize)}; "
            "expected two columns, and some of them to maximize."
        )
    costs = [front._costs(names, maximize) for front in fronts]
    rows = indicators.attained(costs, share) * fronts[0]._signs(names, maximize)
    if columns:
        return Front(Point(metrics=dict(zip(names, row, strict=True))) for row in rows)
    return Front(Point(objectives=row) for row in rows)
