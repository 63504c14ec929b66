"""What is left of pruned parameters; `bopt.sparsity.export` stores it small."""

from bopt.sparsity.counts import Count, Report, report

__all__ = ["Count", "Report", "report"]
