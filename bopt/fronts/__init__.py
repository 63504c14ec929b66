"""Pareto fronts: tables of trainings, searches for new weights, indicators, knees."""

from bopt.fronts.attainment import attainment
from bopt.fronts.continuation import continuation
from bopt.fronts.dichotomic import (
    bisection_dichotomic,
    dichotomic,
    stochastic_dichotomic,
)
from bopt.fronts.front import Front
from bopt.fronts.grids import ORIGINAL_WEIGHTS, geometric
from bopt.fronts.points import Point, Spread
from bopt.fronts.released import released
from bopt.fronts.searches import Batch, Search, bisection, grid

__all__ = [
    "ORIGINAL_WEIGHTS",
    "Batch",
    "Front",
    "Point",
    "Search",
    "Spread",
    "attainment",
    "bisection",
    "bisection_dichotomic",
    "continuation",
    "dichotomic",
    "geometric",
    "grid",
    "released",
    "stochastic_dichotomic",
]
