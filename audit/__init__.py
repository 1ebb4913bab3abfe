"""Audit the local robustness of saved conditional density models."""

__version__ = "0.1.0"
