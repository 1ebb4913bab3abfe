"""Batches of linear operators and what is asked of them; knows no statistics."""
