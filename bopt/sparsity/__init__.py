"""Sparsity of parameters; compact forms of them are in `bopt.sparsity.export`."""

import importlib
from typing import Any

from bopt.sparsity.counts import Count, Report, report

__all__ = ["Count", "Report", "report"]


def __getattr__(name: str) -> Any:
    """Import `export`, which needs SciPy, on first use."""
    if name == "export":
        return importlib.import_module("bopt.sparsity.export")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
