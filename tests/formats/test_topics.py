"""A topic shows all of a kind; a name still shows its one thing."""

import pytest

from audit.config.options import OPTIONS, flag_names
from audit.formats import glossary, topics
from audit.formats.site.contents import TOPICS
from audit.ground.errors import UnknownName
from audit.reports import expressions

OWN = [topic for topic in TOPICS if topic.name not in glossary.names()]


def test_the_topics_that_the_reference_promises_are_there():
    named = {topic.name for topic in TOPICS}
    assert named >= {"concepts", "families", "attacks", "columns", "exit-codes"}
    assert named >= {"expressions", "plugins", "divergences", "quantities"}
    listed = topics.render(None).split("\n\n")[0]
    for name in named:
        assert name in listed


@pytest.mark.parametrize("topic", OWN, ids=lambda topic: topic.name)
def test_a_topic_shows_every_name_of_its_kinds(topic):
    text = topics.render(topic.name)
    assert text.startswith(f"{topic.title}\n")
    asked = [n for n, kind in glossary.names().items() if kind in topic.kinds]
    for name in asked:
        for title, said in glossary.explain(name):
            if title == f"{name} ({glossary.names()[name]})":
                assert title in text
                for word in said.split():
                    assert word in text


def test_exit_codes_and_options_are_topics_too():
    text = topics.render("exit-codes")
    for code in glossary.EXIT_CODES:
        assert f"{code} (exit code)" in text
    assert "ROBAUDIT_MAX_SKIPPED" in topics.render("options")
    assert "QUANTITY_realised (suffix)" in topics.render("columns")


@pytest.mark.parametrize(
    "name", ["kl", "concepts", "scale", "expressions", "plugins", "0"]
)
def test_a_name_is_the_glossarys(name):
    assert topics.render(name) == glossary.render(name)


@pytest.mark.parametrize("name", [*OPTIONS, *expressions.FUNCTIONS])
def test_every_option_and_function_is_explained_by_its_name(name):
    text = " ".join(topics.render(name).split())
    if name in OPTIONS and name not in glossary.kinds_of_pages():
        flags = [] if OPTIONS[name].file_only else flag_names(name)
        for called in (name, *flags):
            assert OPTIONS[name].meaning in " ".join(topics.render(called).split())
    if name in expressions.FUNCTIONS:
        assert f"{name}() (function)" in text


def test_every_option_is_listed():
    listed = topics.render(None)
    for name, option in OPTIONS.items():
        assert (name if option.file_only else flag_names(name)[-1]) in listed


def test_a_quantity_goes_before_the_option_of_its_name():
    text = topics.render("units")
    assert text.index("units (quantity)") < text.index("--units (option)")


def test_an_unknown_name_is_told_its_neighbours_and_who_lists_the_rest():
    with pytest.raises(UnknownName, match="`robaudit explain` lists") as caught:
        topics.render("tracee")
    assert "nearest are trace, " in str(caught.value)
    assert "zero_inflated" not in str(caught.value)


def test_an_unknown_name_is_near_a_topic():
    with pytest.raises(UnknownName, match="Did you mean 'families'") as caught:
        topics.render("familes")
    assert str(caught.value).count("families") == 2  # the nearest, and the hint
