"""Confidence intervals that cover: Student's quantile and means of skewed numbers.

`student` is plain numpy, for both sides of the project; the rest works on tensors.
"""
