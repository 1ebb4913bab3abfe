"""What the published schemas of SARIF and JUnit ask of the parts that robaudit writes.

Written from the specifications in our own words, and stricter than they are: a part
that is not named here is refused, so whoever writes a new one has to look it up.

Reference:
    OASIS, Static Analysis Results Interchange Format 2.1.0, errata 01.
    Jenkins xUnit plugin, junit-10.xsd.
"""

TEXT = {"type": "string"}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
URI = {
    "type": "string",
    "format": "uri-reference",
    "pattern": r"^[^\s\\\[\]<>\"{}|^`]*$",
}


def record(required=(), **properties):
    """Return the schema of an object that has these properties and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }


def listed(items, **bounds):
    return {"type": "array", "items": items, **bounds}


MESSAGE = record(("text",), text=TEXT)
RULE = record(("id",), id=TEXT, shortDescription=MESSAGE)
DRIVER = record(
    ("name",), name=TEXT, version=TEXT, rules=listed(RULE, uniqueItems=True)
)
LOCATION = record(
    physicalLocation=record(
        ("artifactLocation",),
        artifactLocation=record(uri=URI),
        region=record(("startLine",), startLine={"type": "integer", "minimum": 1}),
    )
)
RESULT = record(
    ("message",),
    ruleId=TEXT,
    level=LEVEL,
    message=MESSAGE,
    locations=listed(LOCATION),
    partialFingerprints={"type": "object", "additionalProperties": TEXT},
)
INVOCATION = record(
    ("executionSuccessful",),
    executionSuccessful={"type": "boolean"},
    exitCode={"type": "integer"},
    toolExecutionNotifications=listed(
        record(("message",), message=MESSAGE, level=LEVEL)
    ),
)
RUN = record(
    ("tool",),
    tool=record(("driver",), driver=DRIVER),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    invocations=listed(INVOCATION),
    results=listed(RESULT),
)
SARIF = record(
    ("version", "runs"),
    **{"$schema": {"type": "string", "format": "uri", "pattern": "2\\.1\\.0"}},
    version={"const": "2.1.0"},
    runs=listed(RUN),
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
