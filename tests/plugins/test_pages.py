"""The pages of `robaudit explain`: every example runs, and passes the kit."""

import re

import pytest

from audit.formats import glossary
from audit.formats.pages import CONCEPTS, GUIDES, PAGES, page

PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("name", PAGES)
def test_the_example_of_a_page_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = "\n".join(PYTHON.findall(page(name)))
    assert "audit.testing" in source
    exec(compile(source, name, "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("name", [CONCEPTS, *GUIDES, *PAGES])
def test_a_page_is_shown_as_it_is_written(name):
    text = glossary.render(name)
    assert text.startswith("# ")
    assert max(map(len, text.splitlines())) <= 88
    assert name in glossary.render(None)
