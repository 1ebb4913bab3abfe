"""`path::key`, where paths may hold `::` too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.ground.storage import split_spec
from audit.inputs import open_inputs

PARTS = st.text(st.sampled_from("ab:./"), max_size=6)


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("d.npz", ("d.npz", None)),
        ("d.npz::x", ("d.npz", "x")),
        ("a::b.npz::x", ("a::b.npz", "x")),
        ("a::b.npz::", ("a::b.npz", None)),
        ("::x", ("::x", None)),
        ("", ("", None)),
        ("a\0b::x", ("a\0b", "x")),
    ],
)
def test_a_spec_is_split_at_its_last_colons(spec, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert split_spec(spec) == parts


@given(PARTS)
def test_colons_at_the_end_say_that_all_before_is_the_path(path):
    if path and not path.endswith(":"):
        assert split_spec(f"/none/{path}::") == (f"/none/{path}", None)


def test_a_file_of_the_whole_name_is_that_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert split_spec("a::b.npz") == ("a", "b.npz")
    np.savez("a::b.npz", x=np.ones((2, 3)), y=np.zeros((2, 3)))
    assert split_spec("a::b.npz") == ("a::b.npz", None)
    for spec in ("a::b.npz", "a::b.npz::", "a::b.npz::x"):
        found = open_inputs(spec, {"x": None})
        assert (found.path, found.take("x", slice(None)).sum()) == ("a::b.npz", 6)
    found = open_inputs("a::b.npz::y", {"x": None})
    assert not found.take("x", slice(None)).any()
