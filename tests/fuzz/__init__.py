"""Files of strangers, changed at random: `python -m tests.fuzz --count 20000`."""
