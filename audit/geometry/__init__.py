"""A density and a divergence make a quadratic form; exact values check it."""
