"""Families, attacks and formats of ours explain themselves, without being imported."""

import subprocess
import sys

import pytest

from audit.attacks.laws import ATTACKS
from audit.families import COMPOSED, FAMILIES, KIND_OPTIONS
from audit.families.gates import GATES
from audit.formats import FORMATS
from audit.formats.built_in import FORMULAS, built_in, paragraph_of
from audit.formats.glossary import explain, names
from audit.geometry.divergences import DIVERGENCES
from audit.ground.errors import UnknownName

REGISTRIES = {
    "family": FAMILIES,
    "composed family": COMPOSED,
    "attack": ATTACKS,
    "format": FORMATS,
}


@pytest.mark.parametrize("kind", REGISTRIES)
def test_what_is_read_from_the_source_is_what_the_registry_holds(kind):
    found = {one.name for one in built_in() if one.kind == kind}
    assert found == {name for name in REGISTRIES[kind] if REGISTRIES[kind].ours(name)}
    assert found <= set(names())


def test_every_divergence_has_a_name_too():
    assert {name for name in DIVERGENCES if DIVERGENCES.ours(name)} <= set(names())


@pytest.mark.parametrize("name", [n for n in FAMILIES if FAMILIES.ours(n)])
def test_a_family_is_explained_by_its_docstring_and_its_parameters(name):
    found = dict(explain(name))
    text = found[f"{name} (family)"]
    law = FAMILIES[name]
    assert text.startswith(law.__doc__.partition("\n")[0].strip())
    ways = "; or ".join(", ".join(names) for names in law.parameterizations)
    assert f"\nParameters: {ways}.\n" in text or not ways
    stated = f"\nOptions: {', '.join(law.options)}, by --option NAME=VALUE.\n"
    assert (stated in text) == bool(law.options)
    assert text.endswith(f"Written --family {name}.")


@pytest.mark.parametrize("kind", [kind for kind in COMPOSED if COMPOSED.ours(kind)])
def test_a_composed_family_is_explained_with_its_own_options(kind):
    options = ", ".join(KIND_OPTIONS.get(kind, ()))
    text = dict(explain(kind))[f"{kind} (composed family)"]
    assert (f"\nOptions: {options}, by --option" in text) == bool(options)
    assert ("Options:" in text) == bool(options)


@pytest.mark.parametrize("kind", ["hurdle", "zero_inflated"])
def test_a_gated_family_names_all_ways_to_write_its_gate(kind):
    text = dict(explain(kind))[f"{kind} (composed family)"]
    stated = text.partition("Parameters: ")[2]
    assert all(gate in stated for gate in GATES)


@pytest.mark.parametrize("kind", ["family", "composed family"])
def test_the_page_of_a_family_has_its_density_and_its_fisher_information(kind):
    """From the docstring of its class alone, which is where it is written."""
    for one in built_in():
        if one.kind != kind:
            continue
        _, text = paragraph_of(one)
        lines = text.splitlines()
        assert (
            sum(line.startswith(("Density: ", "Probability: ")) for line in lines) == 1
        )
        assert sum(line.startswith("Fisher information: ") for line in lines) == 1
        doc = REGISTRIES[kind][one.name].__doc__
        said = [" ".join(part.split()) for part in doc.split("\n\n")]
        assert {line for line in lines if line.startswith(FORMULAS)} <= set(said)


def test_formats_and_compositions_say_how_they_are_written():
    ((title, text),) = explain("sarif")
    assert title == "sarif (format)"
    assert text.startswith("SARIF 2.1.0")
    assert "-f sarif" in text
    ((title, text),) = explain("mixture:normal")
    assert title == "mixture (composed family)"
    assert "--family mixture:COMPONENT" in text
    with pytest.raises(UnknownName, match="Did you mean 'student_t'"):
        explain("studnt_t")


def test_every_attack_is_explained_once():
    for name in (name for name in ATTACKS if ATTACKS.ours(name)):
        assert [title for title, _ in explain(name)] == [f"{name} (attack)"]
    for one in built_in():
        assert len(paragraph_of(one)[1]) > 20


def test_nothing_of_ours_is_imported_to_be_explained():
    code = (
        "import sys; from audit.formats.glossary import render; render(None); "
        "print([m for m in ('torch', 'audit.families', 'audit.attacks') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
