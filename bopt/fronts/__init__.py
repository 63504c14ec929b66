"""Pareto fronts: tables of trainings, searches for new weights, indicators, knees."""

from bopt.fronts.continuation import continuation
from bopt.fronts.front import Front
from bopt.fronts.grids import ORIGINAL_WEIGHTS, geometric
from bopt.fronts.points import Point, Spread
from bopt.fronts.searches import (
    Batch,
    Search,
    bisection,
    dichotomic,
    grid,
    stochastic_dichotomic,
)

__all__ = [
    "ORIGINAL_WEIGHTS",
    "Batch",
    "Front",
    "Point",
    "Search",
    "Spread",
    "bisection",
    "continuation",
    "dichotomic",
    "geometric",
    "grid",
    "stochastic_dichotomic",
]
