"""Confidence intervals that cover: means of skewed numbers, pooled and controlled."""
