"""Classes by their names: where names come from, where they are shown, what is refused.

The model is a linear map before a softmax, so that every probability is known.
"""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from scans import sample, scan, written
from scipy.special import softmax

import audit
from audit.config import from_environment, override
from audit.formats import rendered, single
from audit.formats.arrays import arrays
from audit.formats.figure.plot import numbers
from audit.formats.figure.portraits import portrait
from audit.formats.html import predicted
from audit.formats.layout import Style
from audit.formats.table import render
from audit.ground.errors import ConfigError, InputError
from audit.reports.json import to_json

WEIGHT = np.array([[2.0, 0.5], [-1.0, 1.5], [0.3, -2.0]])
MATRIX = torch.from_numpy(WEIGHT).T
NAMES = ["cat", "dog", "barn owl"]
X = np.random.default_rng(3).normal(size=(40, 2))


def linear(x):
    return x @ MATRIX


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    model = {"family": "categorical", "parameters": {"logits": "output"}}
    return written(folder, linear, X, model, sizes=(), verify=10)


def named(config, names, origin="command line"):
    return override(config, origin, classes=names)


@pytest.fixture(scope="module")
def report(config):
    return scan(named(config, "cat, dog,barn owl"))


def masses(report):
    """The probabilities before and after, from the input and δ alone."""
    found = report.portraits[0]
    x, delta = (np.array(part) for part in (found.x, found.delta))
    return found, softmax(WEIGHT @ x), softmax(WEIGHT @ (x + delta))


def test_a_report_names_classes_and_says_who_named_them(report):
    assert report.model.class_names == NAMES
    assert report.model.origins["classes"] == "command line"


def test_names_are_those_of_the_probabilities(report):
    found, before, after = masses(report)
    text = " ".join(render(report, Style(400)).split())
    for k in np.argsort(-np.abs(after - before))[:2]:
        moved = f"'{NAMES[k]}' {100 * before[k]:.0f} % → {100 * after[k]:.0f} %"
        assert moved in text, (moved, text)
    first, last = NAMES[before.argmax()], NAMES[after.argmax()]
    if first != last:
        assert f"'{first}' becomes '{last}'" in text
    assert f"input {found.index} at its critical radius" in text


def test_every_form_has_the_names(report):
    index = report.portraits[0].index
    shown = single.render(report, index, Style(400))
    page, note = rendered("html", report), rendered("md", report)
    csv = numbers(portrait(report, report.portraits[0]))
    for name in NAMES:
        assert name in shown
        assert name in page
        assert name in note
        assert name in csv
    with np.load(io.BytesIO(arrays(report, index))) as file:
        assert file["class_names"].tolist() == NAMES
        _, before, _ = masses(report)
        places = file["theta"].astype(int)
        np.testing.assert_allclose(file["before.density"], before[places], rtol=1e-5)


def test_the_bars_of_the_page_are_in_the_names_order(report):
    _, before, after = masses(report)
    drawing = predicted.drawn(report.portraits[0], NAMES)
    order = np.argsort(-np.abs(after - before))
    for text in (drawing.caption, drawing.markup().split("</desc>")[1]):
        at = [text.index(NAMES[k]) for k in order]
        assert at == sorted(at)
    widths = re.findall(r'<rect[^>]*width="([\d.]+)"[^>]*class="bar"', drawing.markup())
    shares = np.array(widths, float) / float(widths[np.argmax(after[order])])
    np.testing.assert_allclose(shares, after[order] / after.max(), atol=0.01)


def test_names_change_no_number(config, report):
    plain = scan(config)
    assert plain.fingerprint == report.fingerprint
    without = report.model_copy(
        update={
            "model": report.model.model_copy(
                update={"class_names": None, "origins": plain.model.origins}
            ),
            "run": plain.run,
        }
    )
    assert to_json(without) == to_json(plain)
    assert "class_names" not in to_json(plain)


def test_names_come_from_a_file_a_list_the_environment_and_a_call(config, tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("cat\n\n dog \nbarn owl\n", encoding="utf-8")
    few = replace(config, limit=2, verify=0)
    assert scan(named(few, str(path))).model.class_names == NAMES
    assert scan(named(few, NAMES)).model.class_names == NAMES
    long = [name.ljust(80, "é") for name in NAMES]  # together no path
    assert scan(named(few, ",".join(long))).model.class_names == long
    asked = from_environment(few, {"ROBAUDIT_CLASSES": "cat,dog,barn owl"})
    found = scan(asked).model
    assert (found.class_names, found.origins["classes"]) == (NAMES, "environment")
    net = torch.nn.Linear(2, 3)
    head = {"family": "categorical", "parameters": {"logits": "output"}}
    live = audit.scan(net, X[:3], **head, classes=NAMES, verify=0)
    assert live.record.model.class_names == NAMES


def test_the_data_may_name_them_and_a_flag_is_first(config, tmp_path):
    path = tmp_path / "named.npz"
    np.savez(path, x=X, classes=np.array(NAMES))
    few = replace(config, data=str(path), limit=2, verify=0)
    found = scan(few).model
    assert (found.class_names, found.origins["classes"]) == (NAMES, "data")
    assert scan(named(few, "a,b,c")).model.class_names == ["a", "b", "c"]
    np.savez(path, strange=X, classes=np.array(NAMES))
    assert scan(few).model.class_names == NAMES
    np.savez(path, x=X, classes=np.arange(len(X)))
    assert scan(few).model.class_names is None


def test_the_metadata_may_name_them(tmp_path):
    class Head(torch.nn.Module):
        def forward(self, x):
            return linear(x)

    path, data = tmp_path / "head.pt", tmp_path / "x.npz"
    text = "family: categorical\nparameters: {logits: output}\nclasses: [cat, dog, 3]"
    traced = torch.jit.trace(Head(), (torch.zeros(2, 2, dtype=torch.float64),))
    traced.save(str(path), _extra_files={"robaudit": text})
    np.savez(data, x=X)
    found = sample("mixture", limit=2)
    found = replace(found, data=str(data), model=replace(found.model, path=str(path)))
    model = scan(found).model
    assert model.class_names == ["cat", "dog", "3"]
    assert model.origins["classes"] == "metadata"


@pytest.mark.parametrize(
    ("names", "given", "expected", "step"),
    [
        ("cat,dog", "names 2 classes (cat, dog)", "Expected 3", "a name for each"),
        ("a,b,c,d", "names 4 classes (a, b, c, …)", "Expected 3", "a name for each"),
        ("cat,dog,cat", "names two classes 'cat'", "tell the classes", "of its own"),
        ("cat,,dog", "leaves one empty", "tell the classes", "of its own"),
        ("labels.txt", "'labels.txt' is no file", "one name a line", "cat,dog"),
    ],
)
def test_names_that_do_not_fit_are_refused(config, names, given, expected, step):
    with pytest.raises(ConfigError) as found:
        scan(named(config, names))
    error = found.value
    assert given in error.given
    assert expected in error.expected
    assert step in error.next_step


def test_names_of_the_data_that_do_not_fit_are_an_error_of_the_data(config, tmp_path):
    path = tmp_path / "named.npz"
    np.savez(path, x=X, classes=np.array(["cat", "dog"]))
    with pytest.raises(InputError, match="'classes' in the data names 2 classes"):
        scan(replace(config, data=str(path)))


def test_a_file_that_is_no_text_is_refused(config, tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match=r"names\.txt' cannot be read"):
        scan(named(config, str(path)))


def test_a_law_without_classes_refuses_names():
    few = sample("heteroscedastic", limit=2)
    with pytest.raises(ConfigError, match="names 2 classes, and the law is normal"):
        scan(named(few, "cat,dog"))


def test_true_and_false_may_have_names(tmp_path):
    model = {"family": "bernoulli", "parameters": {"logits": "output"}}
    config = written(tmp_path, lambda x: 3 * x[:, :1], X, model, sizes=(), verify=10)
    report = scan(named(config, "benign,malignant"))
    found = report.portraits[0]
    x, delta = (np.array(part) for part in (found.x, found.delta))
    odds = 1 / (1 + np.exp(-3 * np.array([x[0], (x + delta)[0]])))
    text = " ".join(render(report, Style(400)).split())
    assert f"'malignant' {100 * odds[0]:.0f} % → {100 * odds[1]:.0f} %" in text


def test_without_names_classes_have_their_numbers():
    report = scan(sample("digits_cnn", limit=12, verify=4, sizes=()))
    assert "class_names" not in to_json(report)
    assert "% → " in render(report, Style(400))
    assert "class " in render(report, Style(400))
