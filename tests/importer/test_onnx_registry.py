"""The table of operators against the standard's own schemas."""

import onnx
import pytest
from onnx import AttributeProto, defs, helper
from onnx_operators import operators

from audit.importer.program import Node
from audit.importer.refused import refusal
from audit.importer.registry import attributes_of, find, required_inputs

FIRST = 7  # the oldest opset that is promised (older ones run where they are the same)
SCHEMAS = [
    schema
    for schema in defs.get_all_schemas_with_history()
    if schema.domain in ("", "ai.onnx.ml") and not schema.deprecated
]
CURRENT = [
    schema
    for schema in SCHEMAS
    if schema.domain == ""
    and (
        schema.since_version >= FIRST
        or schema.since_version == defs.get_schema(schema.name, FIRST).since_version
    )
]
NOT_FOR_US = {  # of ai.onnx.ml: what scikit-learn's converter does not write
    "CastMap", "CategoryMapper", "DictVectorizer",
}  # fmt: skip
BUILT_IN = {"Constant"}  # build.py reads it
OTHER_DEFAULT = {  # attributes whose default depends on the call
    ("MeanVarianceNormalization", "axes"),
    ("RNN", "activations"),
    ("Clip", "min"),
    ("Clip", "max"),
    ("LabelEncoder", "default_float"),
    ("GridSample", "mode"),  # bilinear is the linear of later versions
    ("Pad", "pads"),  # opset 1 calls them paddings
}


def test_every_operator_of_the_standard_is_there_or_refused_by_name():
    missing = [
        f"{schema.domain}.{schema.name} {schema.since_version}"
        for schema in SCHEMAS
        if schema.name not in NOT_FOR_US | BUILT_IN
        and find(schema.domain, schema.name, schema.since_version) is None
        and refusal(Node(schema.name, (), (), domain=schema.domain)) is None
        and not (schema.has_function or schema.has_context_dependent_function)
        and (schema.domain or schema.since_version >= FIRST)
    ]
    assert not missing, missing


def ids(schema):
    return f"{schema.name}-{schema.since_version}"


def wrong_in(agrees):
    """Return what is wrong with operators, by their names and versions."""
    wrong = {}
    for schema in CURRENT:
        try:
            agrees(schema)
        except AssertionError as error:
            wrong[ids(schema)] = str(error).splitlines()[0]
    return wrong


def attributes_agree(schema):
    entry = find("", schema.name, schema.since_version)
    if entry is None:
        return  # refused, or expanded by its function body
    ours = attributes_of(entry.run)
    for name, attribute in schema.attributes.items():
        assert name in ours, f"{name} is not known"
        default = ours[name].default
        if (schema.name, name) in OTHER_DEFAULT:
            continue
        if attribute.required:
            assert default is ours[name].empty, f"{name} is required"
        elif attribute.default_value.type != AttributeProto.UNDEFINED:
            theirs = helper.get_attribute_value(attribute.default_value)
            theirs = theirs.decode() if isinstance(theirs, bytes) else theirs
            if isinstance(theirs, float):
                assert default == pytest.approx(theirs, rel=1e-6), name
            else:
                assert default == theirs, name


def inputs_agree(schema):
    entry = find("", schema.name, schema.since_version)
    variadic = onnx.defs.OpSchema.FormalParameterOption.Variadic
    if entry is None or any(i.option == variadic for i in schema.inputs):
        return
    ours = required_inputs(entry.run)
    if not ours:  # a built-in of torch
        return
    assert not any(ours[len(schema.inputs) :]), "an input too many is required"
    single = onnx.defs.OpSchema.FormalParameterOption.Single
    for name, theirs in zip(ours, schema.inputs, strict=False):
        assert not name or theirs.option == single, f"{theirs.name} is optional"


@pytest.mark.parametrize("agrees", [attributes_agree, inputs_agree])
def test_attributes_and_inputs_are_those_of_the_standard(agrees):
    assert wrong_in(agrees) == {}


def test_no_operator_is_registered_twice():
    keys = [(entry.domain, entry.name, entry.since) for entry in operators()]
    assert len(keys) == len(set(keys))


def test_versions_exist_in_the_standard():
    """A `since` that no schema has would be a version that never was."""
    known = {(s.domain, s.name, s.since_version) for s in SCHEMAS}
    known |= {
        (s.domain, s.name, s.since_version)
        for s in defs.get_all_schemas_with_history()
        if s.deprecated
    }
    ours = {
        (entry.domain, entry.name, entry.since)
        for entry in operators()
        if entry.domain in ("", "ai.onnx.ml") and entry.since > 1
    }
    assert ours <= known, ours - known
