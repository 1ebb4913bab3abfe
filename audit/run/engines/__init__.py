"""Ways to run a scan's jobs. Each is a `map` over plain data, in order.

An engine takes (make, jobs, workers): `make()` is called once in each process and
returns the function that does a job there, so that a model is opened once a process
and never crosses from one to another.
"""
