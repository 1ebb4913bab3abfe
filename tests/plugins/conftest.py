import sys

import pytest

from . import installed


@pytest.fixture(scope="module", autouse=True)
def plugins(tmp_path_factory):
    """Every package of this folder, installed for the tests beside it."""
    paths = installed.paths(tmp_path_factory.mktemp("installed"))
    sys.path[:0] = paths
    yield paths
    for path in paths:
        sys.path.remove(path)
