"""From a saved file to a conditional density."""
