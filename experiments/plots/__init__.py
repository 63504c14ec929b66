"""Figures of runs and Pareto fronts."""
