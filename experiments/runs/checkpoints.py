"""Checkpoints: all that decides how a training goes on, on disk.

`checkpoints/` holds a folder for each, named by the steps done: `state/` has the
trainer's carry (parameters, batch statistics, the optimizer's moments, masks and
counts, sums over the epoch, random key), `record/` a JSON object: `format`, `config`
(as in config.json), `tree` (path -> shape and dtype of all in the state), what was
`recorded` so far, and checksums of both. Orbax writes them, in the background, each
whole or not at all.
"""

import contextlib
import json
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies
from rich.console import Console

from experiments.devices import fetched, on_first
from experiments.runs.console import say
from experiments.runs.directory import (
    RunDirectoryError,
    check_tree,
    described,
    nulled,
    reason,
)
from experiments.runs.quiet_orbax import quiet_orbax

FORMAT = 1  # of what is written; what earlier versions wrote is read, too


class Saved(NamedTuple):
    """What a checkpoint holds.

    Attributes:
      step: steps done.
      carry: the trainer's.
      recorded: what was saved with it.
    """

    step: int
    carry: Any
    recorded: dict[str, Any]


class Checkpoints:
    """The checkpoints of one training: the last two, and the best.

    Args:
      path: their folder.
      config: what each record says of the run, see `experiments.runs.records.config`.
      console: where damaged ones are told.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import jax.numpy as jnp
      >>> from rich.console import Console
      >>> from experiments.runs.checkpoints import Checkpoints
      >>> with Checkpoints(Path(tempfile.mkdtemp()), {}, Console()) as checkpoints:
      ...     for step in range(5):
      ...         checkpoints.save(step, {"w": jnp.full(1, step)}, {}, score=-step)
      ...     checkpoints.steps(), checkpoints.restore({"w": jnp.zeros(1, int)}).carry
      ([0, 3, 4], {'w': Array([4], dtype=int32)})
    """

    def __init__(self, path: Path, config: dict[str, Any], console: Console):
        self._path, self._config, self._console = path.absolute(), config, console
        self._manager: Any = None
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> "Checkpoints":
        self._exit.enter_context(quiet_orbax())
        with self._writing():
            on_first(self._remove_damaged_scores)
            self._manager = ocp.CheckpointManager(
                self._path,
                options=ocp.CheckpointManagerOptions(
                    preservation_policy=policies.AnyPreservationPolicy(
                        [
                            policies.LatestN(2),
                            policies.BestN(
                                get_metric_fn=_score,
                                n=1,
                                keep_checkpoints_without_metrics=False,
                            ),
                        ]
                    ),
                    best_fn=_score,  # else no score would be stored
                    cleanup_tmp_directories=True,
                ),
                item_names=("state", "record"),
            )
        return self

    def __exit__(self, kind, error, trace) -> None:
        with self._exit:
            if error is None:
                self.wait()
            with contextlib.suppress(Exception):  # said by wait, or not the first error
                self._manager.close()

    def steps(self) -> list[int]:
        """Of the checkpoints that there are, once the last is written."""
        self.wait()
        return sorted(self._manager.all_steps())

    def wait(self) -> None:
        """Waits until all is on disk.

        Raises:
          RunDirectoryError: it could not be written; the checkpoints before are intact.
        """
        with self._writing():
            self._manager.wait_until_finished()

    def save(
        self,
        step: int,
        carry: Any,
        recorded: dict[str, Any],
        score: float | None = None,
    ) -> None:
        """Saves, in the background, unless there is a checkpoint of this step.

        Args:
          step: steps done.
          carry: a tree of arrays; they may be donated afterwards.
          recorded: what `restore` is to give back, for JSON.
          score: on validation data, higher is better; None or NaN counts as lowest.

        Raises:
          RunDirectoryError: this one or the one before could not be written.
        """
        if step in self._manager.all_steps():
            return
        record = {
            "format": FORMAT,
            "config": self._config,
            "tree": described(carry),
            "recorded": recorded,
            "state_checksum": _checksum(carry),
        }
        record = nulled(record)
        record["checksum"] = _record_checksum(record)
        known = score is not None and np.isfinite(score)
        with self._writing():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    # Copied: on a CPU, what Orbax writes would be the buffers
                    # themselves, which the next training step is given.
                    state=ocp.args.StandardSave(jax.tree.map(jnp.copy, carry)),
                    record=ocp.args.JsonSave(record),
                ),
                metrics={"score": float(score or 0) if known else float("-inf")},
                force=True,
            )

    def restore(self, like: Any) -> Saved | None:
        """The newest checkpoint that is whole; newer ones are said to be damaged, and
        renamed to STEP.damaged.

        Args:
          like: a carry of the same kind; its values do not matter.

        Returns:
          None if there is no checkpoint.

        Raises:
          RunDirectoryError: all are damaged; or one is of another model or optimizer,
            or of a later version.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            try:
                saved = self._read(step, like)
            except RunDirectoryError:
                raise
            except Exception as error:  # there is no end of what Orbax raises
                name = self._path / str(step)
                say(self._console, f"Checkpoint {name} is damaged: {reason(error)}")
                continue
            if step != steps[0]:
                say(self._console, f"The one before is used, of step {step}.")
                self._set_aside([later for later in steps if later > step])
            return saved
        if steps:
            raise RunDirectoryError(
                f"None of the checkpoints in {self._path} can be read. Remove that "
                "folder to begin the training anew."
            )
        return None

    def _read(self, step: int, like: Any) -> Saved:
        record = self._manager.restore(
            step, args=ocp.args.Composite(record=ocp.args.JsonRestore())
        ).record
        if record.pop("checksum") != _record_checksum(record):
            raise ValueError("its record is not what was written.")
        name = self._path / str(step)
        if record["format"] > FORMAT:
            raise RunDirectoryError(
                f"{name} is of format {record['format']}, which a later version of "
                f"bopt wrote; this one reads formats up to {FORMAT}. Update bopt."
            )
        check_tree(record["tree"], described(like), name)
        target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        carry = self._manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target))
        ).state
        if record["state_checksum"] != _checksum(carry):
            raise ValueError("its state is not what was written.")
        return Saved(step, carry, record["recorded"])

    def _set_aside(self, damaged: list[int]) -> None:
        def rename() -> None:
            for step in damaged:
                folder = self._path / str(step)
                shutil.rmtree(folder.with_suffix(".damaged"), ignore_errors=True)
                folder.rename(folder.with_suffix(".damaged"))

        with self._writing():
            on_first(rename)
            self._manager.reload()

    def _remove_damaged_scores(self) -> None:
        """Orbax reads all scores first, and could not begin."""
        for file in self._path.glob("*/metrics/metrics"):
            try:
                _score(json.loads(file.read_text()))
            except (ValueError, LookupError, TypeError):
                file.unlink()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            # TensorStore's of a full disk are ValueErrors; so are those of a lost
            # process, which JAX will name.
            if isinstance(error, ValueError) and "writ" not in str(error):
                raise
            raise RunDirectoryError(
                f"Cannot write {self._path}: {reason(error)}. The checkpoints before "
                "are intact; free some room, and go on with --resume."
            ) from error


def remove(path: Path) -> None:
    """Removes the checkpoints of a training that is no longer needed.

    Example:
      >>> from pathlib import Path
      >>> from experiments.runs.checkpoints import remove
      >>> remove(Path("nowhere"))
    """
    on_first(lambda: shutil.rmtree(path, ignore_errors=True))


def _score(metrics: dict[str, float]) -> float:
    return float(metrics["score"])


def _checksum(carry: Any) -> int:
    """Of all bits: Orbax reads an array with a flipped one without a word."""
    checksum = 0
    for leaf in jax.tree.leaves(carry):
        checksum = zlib.crc32(np.asarray(fetched(leaf)).tobytes(), checksum)
    return checksum


def _record_checksum(record: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(record, sort_keys=True).encode())
