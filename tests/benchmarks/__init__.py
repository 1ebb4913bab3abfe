"""Timings, never run by pytest by default: ratios against peers in one run."""
