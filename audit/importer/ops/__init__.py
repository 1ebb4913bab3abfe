"""The operators, one file per group; each file registers what it defines."""
