"""An engine that does every job in this process, whatever --workers says."""


def run(make, jobs, workers):
    """Every job in this process, one by one."""
    return map(make(), jobs)
