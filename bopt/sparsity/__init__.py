"""Sparsity of parameters; compact forms of them are in `bopt.sparsity.export`."""

from bopt.sparsity.counts import Count, Report, report

__all__ = ["Count", "Report", "report"]
