"""What all tests share. Each of two processes computes on one thread."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch, and for subprocesses

import pytest
from reports.synthetic import CONFIG, EIGENVALUES, LIMITS, measured_of, report_of


@pytest.fixture
def config():
    return CONFIG


@pytest.fixture
def measured():
    return measured_of(EIGENVALUES)


@pytest.fixture
def report():
    """One skipped input, no limits."""
    return report_of(EIGENVALUES)


@pytest.fixture
def gated():
    """One limit that fails, one that holds, one that warns and is borderline."""
    return report_of(EIGENVALUES, *LIMITS)
