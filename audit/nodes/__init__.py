"""Expectations as sums over weighted points: keyed draws, lines, grids, chains."""
