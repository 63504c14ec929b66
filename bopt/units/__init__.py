"""Units: neurons and channels, which are pruned as a whole.

A unit is an output column of a dense layer, or an output channel of a convolution, with
its bias, its normalization, and the entries of the next layer that take it. Without
them the network is a smaller one of the same kind, which is faster everywhere:
`bopt.prune_units` prunes units, `bopt.compact` removes them.
"""

from bopt.units.description import Layer, Slice, Units, describe
from bopt.units.probing import find

__all__ = ["Layer", "Slice", "Units", "describe", "find"]
