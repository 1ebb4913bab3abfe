"""A plug-in that lacks something is named where it is used, and breaks nothing else."""

import sys
import textwrap
from dataclasses import replace

import pytest
import torch

from audit.attacks.laws import build_attack
from audit.cli import door
from audit.config import AttackConfig, ModelConfig
from audit.families import FAMILIES, build_family
from audit.formats import glossary, rendered
from audit.geometry.divergences import build_divergence
from audit.ground import plugins
from audit.ground.errors import BrokenPlugin, ConfigError, UnknownName
from audit.inputs import open_inputs
from audit.models.contract import Settings
from audit.models.files import open_network
from audit.models.names import families_with
from audit.run.engines import mapped

from . import installed


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """Install a package `robaudit-broken` with one plug-in, from its source."""

    def install(kind, source, name="broken", attribute="Broken"):
        module = f"broken_{abs(hash((kind, source))):x}"
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
        place = f"{module}:{attribute}"
        installed.write_metadata(tmp_path, "robaudit-broken", {kind: {name: place}})
        monkeypatch.syspath_prepend(str(tmp_path))
        return name

    return install


def refusal(*words):
    pattern = ".*".join(["of the package robaudit-broken", *words, "uninstall robau"])
    return pytest.raises(BrokenPlugin, match=pattern)


HALF_A_FAMILY = """
    from audit.plugins import Law

    class Broken(Law):
        parameterizations = (("scale",),)
"""


def test_a_family_without_its_methods_is_named_with_all_of_them(broken):
    broken("families", HALF_A_FAMILY)
    with refusal("has no distribution, and has no event_shape, and has no kl"):
        build_family("broken", {"scale": (2,)})


def test_what_is_no_family_is_named(broken):
    broken("families", "class Broken:\n    pass\n")
    with refusal("is no subclass of Family", "family-plugin"):
        build_family("broken", {"scale": (2,)})


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_"),
        ("Brokn = 1", "AttributeError.*Broken"),
        ("class Broken(:", "SyntaxError"),
        ("raise RuntimeError('by itself')", "RuntimeError: by itself"),
    ],
)
def test_one_that_does_not_import_says_why(broken, source, words):
    broken("families", source)
    with refusal("does not import from 'broken_", words):
        FAMILIES["broken"]


def test_a_broken_family_breaks_nothing_that_does_not_use_it(broken):
    broken("families", "import nowhere_at_all")
    assert "normal" in families_with({"loc", "scale"})
    assert build_family("normal", {"loc": (), "scale": ()}).size == 2
    assert "broken" in FAMILIES
    assert "broken" not in dict(FAMILIES.sound())
    with pytest.raises(UnknownName, match=r"The known ones are .*broken"):
        FAMILIES["nothing"]


def test_a_broken_plug_in_is_listed_with_what_is_wrong(broken):
    broken("families", "import nowhere_at_all")
    assert "does not import" in glossary.render("broken")
    assert "broken " in glossary.render(None)
    assert "package" in glossary.explain("broken")[0][1]


def test_two_packages_that_claim_a_name_are_both_named(broken, tmp_path):
    broken("families", HALF_A_FAMILY)
    points = {"families": {"broken": "elsewhere:Broken"}}
    installed.write_metadata(tmp_path, "robaudit-rival", points)
    with pytest.raises(BrokenPlugin, match=r"robaudit-(broken|rival).*robaudit-"):
        FAMILIES["broken"]


def test_a_name_of_our_own_wins(broken):
    broken("families", HALF_A_FAMILY, name="normal")
    assert build_family("normal", {"loc": (), "scale": ()}).name == "normal"


WHOLE = (installed.HERE / "robaudit-rayleigh" / "robaudit_rayleigh.py").read_text()


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        (
            "Diagonal(2 / phi)",
            "Diagonal(2 / phi[:, :1])",
            r"fisher_root of shape \[6, 1",
        ),
        ("log()).sum(-1)", "log())", r"kl of shape \[6, 2\], not \[6\]"),
        ("(phi <= 0).any(-1)", "phi <= 0", r"violations 'scale is not positive' of"),
        (
            "return Diagonal(2 / phi)",
            "raise KeyError('x')",
            "fisher_root raises KeyErr",
        ),
        (".double().reshape(", ".float().reshape(", "packs into torch.float32, not"),
        (
            "return 2 * (phi - other)",
            "return 2 - (phi.T - other)",
            "transport_distance",
        ),
    ],
)
def test_a_hook_of_a_wrong_shape_is_named_at_its_first_use(
    broken, model, document, right, wrong, words
):
    from audit.models.opening import open_unchecked

    assert right in WHOLE
    source = WHOLE.replace(right, wrong).replace("Rayleigh", "Broken")
    broken("families", source)
    settings = Settings(
        ModelConfig(model, family="broken"), {}, "auto", True, 64, 2**30
    )
    with refusal(words):
        open_unchecked(settings, document)


DIVERGENCE = """
    import torch
    from audit.plugins import Divergence, Matrix, Tensors

    def root(law, phi, noise):
        return {root}

    def exact(law, phi, other):
        return {exact}

    def Broken():
        return {made}
"""
OWN = 'Divergence("b", "1", 1.0, Tensors.OTHER, exact, root=root)'


def divergence(
    root="Matrix(phi.unsqueeze(1))", exact="(phi - other).sum(-1)", made=OWN
):
    return DIVERGENCE.format(root=root, exact=exact, made=made)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"made": "'kl'"}, "makes str, not a Divergence"),
        ({"made": OWN.replace(", root=root", "")}, "tensor 'other' and has no root"),
        (
            {"made": OWN.replace("OTHER", "FISHER")},
            "'fisher' and has a root of its own",
        ),
        ({"made": OWN.replace("1.0", "0.0")}, "the constant c = 0, not above 0"),
        ({"root": "phi"}, "a root of type Tensor, not a LinearOperator"),
        (
            {"root": "Matrix(phi[:, None, :1])"},
            r"a root of shape \[3, 1, 1\], not \[3, r",
        ),
        ({"exact": "phi"}, r"exact values of shape \[3, 2\], not \[3\]"),
        ({"exact": "0.0"}, "exact values of shape float"),
    ],
)
def test_half_a_divergence_is_named(broken, source, words):
    broken("divergences", divergence(**source))
    law = build_family("normal", {"loc": (), "scale": ()})
    with refusal(words):
        build_divergence("broken").require(law, torch.ones(3, 2).double())


def test_the_arguments_of_a_plugged_divergence_are_its_functions(broken):
    broken("divergences", divergence().replace("Broken()", "Broken(order)"))
    with pytest.raises(ConfigError, match="Expected broken:order=…"):
        build_divergence("broken:alpha=2")
    assert build_divergence("broken:order=2").name == "broken:order=2"


ATTACK = """
    from audit.plugins import Estimate, RandomAttack

    class Broken(RandomAttack):
        arguments = ()

        def draw(self, rng, count, d):
            return rng.normal(size=(count, d))

        def mean_size(self, d):
            return None
"""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "has no expected"),
        ("return 1.0", r"expects float, not an Estimate of shape \[2\]"),
        ("return Estimate(spectrum.trace.value[:1])", r"expects values of shape \[1\]"),
        ("return spectrum.trace.scaled(-0.5)", "expects a cost of -"),
        ("return spectrum.trace.scaled(float('nan'))", "expects a cost of nan"),
        ("return spectrum.nothing", "expected raises AttributeError"),
    ],
)
def test_half_an_attack_is_named(broken, body, words):
    method = f"\n        def expected(self, form, spectrum):\n            {body}\n"
    broken("attacks", ATTACK + (method if body else ""))
    with refusal(words):
        build_attack("broken", {})


EXPECTED = """
        def expected(self, form, spectrum):
            return spectrum.trace
"""


@pytest.mark.parametrize(
    ("base", "hook", "body", "words"),
    [
        ("Random", "draw(self, rng, count, d)", "rng.normal(size=d)", r"shape \[3\]"),
        ("Random", "draw(self, rng, count, d)", "None", "draws NoneType"),
        ("Random", "draw(self, rng, count, d)", "self.gone", "draw raises Attribute"),
        ("Random", "mean_size(self, d)", "'1'", "mean_size that is a str"),
        ("Directed", "sizes(self)", "[0.5]", "has sizes list, not a pair"),
        ("Directed", "sizes(self)", "([.5, 1.], [1.])", r"norms of shape \[2\]"),
        ("Directed", "sizes(self)", "([.5, 1.], [.5, .6])", "sum to 1.1, not to 1"),
        ("Directed", "sizes(self)", "([-.5, 1.], [.5, .5])", "norms below 0"),
        ("Directed", "sizes(self)", "self.gone", "sizes raises AttributeError"),
    ],
)
def test_norms_and_draws_that_are_none_are_named(broken, base, hook, body, words):
    method = f"        def {hook}:\n            return {body}\n"
    source = ATTACK.replace("RandomAttack", f"{base}Attack") + EXPECTED
    broken("attacks", source + method)
    with refusal(words):
        build_attack("broken", {})


def test_norms_may_be_arrays_lists_or_tensors(broken):
    method = "        def sizes(self):\n            return [0.5, 1.5], [0.25, 0.75]\n"
    source = ATTACK.replace("RandomAttack", "DirectedAttack")
    source = source[: source.index("        def mean_size")] + EXPECTED + method
    broken("attacks", source)
    attack = build_attack("broken", {})
    assert attack.mean_size(3) == 0.25 * 0.5 + 0.75 * 1.5
    norms, _ = attack.rule(torch.empty(0))
    assert norms.tolist() == [0.5, 1.5]
    assert norms.dtype == torch.float32


def test_of_two_attacks_in_a_module_the_broken_one_is_named(tmp_path, monkeypatch):
    draw = "    def draw(self, rng, count, d):\n        return None\n"
    source = textwrap.dedent(ATTACK + EXPECTED)
    whole = "\n\nclass Whole(Broken):\n    pass\n\n\nclass Half(Broken):\n" + draw
    (tmp_path / "two_attacks.py").write_text(source + whole)
    places = {name.lower(): f"two_attacks:{name}" for name in ("Whole", "Half")}
    installed.write_metadata(tmp_path, "robaudit-broken", {"attacks": places})
    monkeypatch.syspath_prepend(str(tmp_path))
    build_attack("whole", {})
    with pytest.raises(BrokenPlugin, match="The attack 'half' of the package"):
        build_attack("half", {})


def test_a_format_that_gives_no_text_is_named(broken, report):
    broken("formats", "def Broken(report):\n    return None\n")
    with refusal("gives NoneType, not text"):
        rendered("broken", report)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("formats", "broken"), ("engines", "broken"), ("loaders", ".b"), ("inputs", ".b")],
)
def test_a_function_that_takes_something_else_is_named(
    broken, report, tmp_path, kind, name
):
    broken(kind, "def Broken():\n    return None\n", name)
    path = tmp_path / "file.b"
    path.write_text("x")
    uses = {
        "formats": lambda: rendered(name, report),
        "engines": lambda: list(mapped(name, list, [], 1)),
        "loaders": lambda: open_network(settings_of(path)),
        "inputs": lambda: open_inputs(str(path), {"x": None}),
    }
    with refusal("cannot be called with"):
        uses[kind]()


def settings_of(path):
    return Settings(ModelConfig(str(path)), {}, "auto", True, 64, 2**30)


def test_a_loader_that_gives_no_network_is_named(broken, tmp_path):
    broken("loaders", "def Broken(path, device, trusted, cuts):\n    return 1\n", ".b")
    path = tmp_path / "file.b"
    path.write_text("x")
    with refusal("gives int, not a Network"):
        open_network(settings_of(path))


@pytest.mark.parametrize("results", ["[]", "[1, 2, 3]"])
def test_an_engine_that_loses_jobs_is_named(broken, results):
    broken("engines", f"def Broken(make, jobs, workers):\n    return iter({results})\n")
    with refusal("results for 2 jobs"):
        list(mapped("broken", list, [1, 2], 1))


READER = """
    import numpy as np
    from audit.plugins import Field

    class Broken:
        def __init__(self, path):
            pass

        def fields(self):
            return {{"x": Field((3, 2), "float64")}}

        def window(self, name, start, stop):
            return {window}

        def fingerprint(self):
            return {digest}
"""


@pytest.mark.parametrize(
    ("window", "digest", "words"),
    [
        (
            "np.zeros((3, 1))",
            "'a'",
            r"declares 'x' as \[3, 2\] of float64 and reads \[3",
        ),
        ("np.zeros((3, 2), 'f4')", "'a'", "float64 and reads .* of float32"),
        ("np.zeros((3, 2))", "None", "gives no text as the fingerprint"),
    ],
)
def test_a_reader_that_reads_something_else_is_named(
    broken, tmp_path, window, digest, words
):
    broken("inputs", READER.format(window=window, digest=digest), ".b")
    path = tmp_path / "file.b"
    path.write_text("x")
    with refusal(words):
        open_inputs(str(path), {"x": None})


def test_a_reader_without_its_methods_is_named(broken, tmp_path):
    broken("inputs", "class Broken:\n    def __init__(self, path): pass\n", ".b")
    path = tmp_path / "file.b"
    path.write_text("x")
    with refusal("without fields, window, fingerprint"):
        open_inputs(str(path), {"x": None})


def test_a_scan_that_asks_for_an_unknown_engine_says_so_at_once(model, document):
    from audit.run.scan import scan

    from .test_plugins import config_of

    config = replace(config_of(model, document), engine="ray_of_light")
    with pytest.raises(UnknownName, match=r"among the engines.*local"):
        scan(config)


def test_an_attack_by_name_is_refused_before_the_model_is_opened(broken):
    from audit.config import ScanConfig
    from audit.run.scan import scan

    broken("attacks", ATTACK)
    config = ScanConfig(
        ModelConfig("nowhere.onnx"), "x.npz", (), (AttackConfig("broken", "broken"),)
    )
    with refusal("has no expected"):
        scan(config)


def test_one_that_raises_in_a_command_is_named_and_no_error_of_ours(broken, capsys):
    name = broken(
        "formats",
        """
        def Broken(report):
            return 1 / 0
        """,
    )
    render = plugins.plugged("formats")[name].load()
    assert door.guarded(lambda: render(None)) == 3
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith(
        "robaudit: The format 'broken' of the package robaudit-broken raised "
        "ZeroDivisionError: division by zero."
    )
    assert "uninstall robaudit-broken" in said
    assert "--debug for the traceback" in said
    assert "internal error" not in said
    assert door.guarded(lambda: 1 / 0) == 3
    assert "internal error, ZeroDivisionError" in capsys.readouterr().err


def test_nothing_of_the_tests_stays_installed():
    assert not [path for path in sys.path if "pytest-of" in path and "broken" in path]
