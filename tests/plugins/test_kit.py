"""The kit notices: a law that is planted wrong is named, with what was expected."""

import json
import math
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributions as td

import audit
from audit.attacks.checking import (
    its_cost_is_that_of_the_form,
    its_norms_integrate_the_form,
)
from audit.attacks.laws import FixedNorm, Gaussian, UniformNorm
from audit.families.checking.scores import fisher_is_the_sum_over_all_outcomes
from audit.families.checking.subject import Subject
from audit.families.gumbel import Gumbel
from audit.families.location_scale import Normal
from audit.families.poisson import Poisson
from audit.families.tensors import Tensors
from audit.formats import FORMATS
from audit.geometry.divergence import Divergence
from audit.geometry.divergences import build_divergence, kl
from audit.inputs.readers import READERS, Field
from audit.linalg.operators import Diagonal
from audit.linalg.stored import Matrix
from audit.models import LOADERS
from audit.plugins import Continuous, RandomAttack
from audit.run.engines import ENGINES
from audit.testing import (
    LawBroken,
    check_attack,
    check_divergence,
    check_engine,
    check_law,
    check_loader,
    check_reader,
    check_render,
)

NORMALS = {"loc": [[0.3, -1.2], [2.0, 0.1]], "scale": [[0.5, 1.4], [2.5, 0.8]]}
SAMPLES = Path(__file__).parents[2] / "sample_models"


def named(*words):
    return pytest.raises(LawBroken, match=r"(?s)" + ".*".join(map(str, words)))


def planted(base, **hooks):
    return type(base.__name__, (base,), hooks)


def scaled(base, hook, factor):
    own = getattr(base, hook)
    return planted(base, **{hook: lambda *given: factor * own(*given)})


@pytest.mark.parametrize("hook", ["fisher_block", "transport_block"])
def test_a_root_that_is_off_by_a_percent_is_noticed(hook):
    with named("Normal.* breaks a law", "at .*loc", "expected", "found"):
        check_law(scaled(Normal, hook, 1.01), NORMALS)


@pytest.mark.parametrize(
    "hook", ["relative_entropy", "renyi_divergence", "squared_distance"]
)
def test_an_exact_value_that_is_off_is_noticed(hook):
    with named("Normal", "tends to", "an error that falls"):
        check_law(scaled(Normal, hook, 1.1), NORMALS)


def test_half_an_information_of_counts_is_noticed_by_their_sum():
    with named("Poisson", "E\\[s sᵀ\\]"):
        check_law(scaled(Poisson, "fisher_block", 1.02), {"rate": [[0.7], [3.0]]})


def neighbours(law, phi):
    return Diagonal(Normal.fisher_root(law, phi).dense()[:1].diagonal(dim1=1, dim2=2))


def wrong_rows(law, phi):
    root = Normal.fisher_root(law, phi).dense()
    return Matrix(root * (1 + 0.001 * len(phi)))


def not_finite(law, phi):
    return Matrix(Normal.fisher_root(law, phi).dense() * torch.nan)


@pytest.mark.parametrize("hook", [neighbours, wrong_rows, not_finite])
def test_a_root_of_another_batch_or_without_numbers_is_noticed(hook):
    with pytest.raises((LawBroken, RuntimeError)):
        check_law(planted(Normal, fisher_root=hook), NORMALS)


def negative(law, phi, other):
    return -Normal.kl(law, phi, other)


def of_one_number(law, phi, other):
    return Normal.kl(law, phi, other).sum()


def in_float32(law, phi, other):
    return Normal.kl(law, phi, other).float()


def between_equals(law, phi, other):
    return Normal.kl(law, phi, other) + 1e-6


def always_zero(law, phi, other):
    return torch.zeros(len(phi), dtype=torch.float64)


NO_KL = [negative, of_one_number, in_float32, between_equals, always_zero]


@pytest.mark.parametrize("hook", NO_KL)
def test_a_kl_that_is_no_divergence_is_noticed(hook):
    with named("kl is float64 \\[N\\], zero between equals"):
        check_law(planted(Normal, kl=hook), NORMALS)


def off_by_a_thousandth(law, phi, other):
    return 1.001 * Normal.kl_slope(law, phi, other)


def of_another_parameter(law, phi, other):
    return Normal.kl_slope(law, phi, other).roll(1, dims=1)


@pytest.mark.parametrize("hook", [off_by_a_thousandth, of_another_parameter])
@pytest.mark.parametrize("wide", [1.0, 100.0])
def test_a_slope_of_kl_that_is_off_is_noticed(hook, wide):
    """Of laws that are near their neighbours, and of laws that are far."""
    members = {"loc": NORMALS["loc"], "scale": [[wide, wide]] * 2}
    with named("kl_slope is float64 .*, and KL rises by it"):
        check_law(planted(Normal, kl_slope=hook), members)


def one_draw_less(law, phi):
    class Short(td.Normal):
        def log_prob(self, value):
            return super().log_prob(value)[1:]

    return td.Independent(Short(*law.split(phi)), 1)


def test_densities_of_fewer_draws_are_noticed_and_counted():
    with named("log q\\(θ\\) is \\[S, N\\]", "expected", "\\[3, 2\\]", "\\[2, 2\\]"):
        check_law(planted(Normal, distribution=one_draw_less), NORMALS)


def never(law, phi):
    return {"a reason": torch.zeros(len(phi), dtype=torch.bool)}


def everywhere(law, phi):
    wrong = ~torch.isfinite(phi).all()
    return {"a reason": wrong.expand(len(phi))}


def wordless(law, phi):
    return {"bad": ~torch.isfinite(phi).all(-1)}


@pytest.mark.parametrize("hook", [never, everywhere, wordless])
def test_violations_that_are_none_are_noticed(hook):
    with named("a member violates nothing; what is not finite does"):
        check_law(planted(Normal, violations=hook), NORMALS)


def test_no_member_is_no_example():
    with named("no violation", "scale is not positive"):
        check_law(Normal, {**NORMALS, "scale": [[0.5, -1.0], [1.0, 1.0]]})


def test_a_phi_that_loses_a_parameter_is_noticed():
    def pack(law, values):
        return Normal.pack(law, {**values, "scale": values["scale"].detach()})

    with named("differentiable in each parameter", "a gradient of scale"):
        check_law(planted(Normal, pack=pack), NORMALS)


def test_an_unpack_that_swaps_is_noticed():
    def unpack(law, phi):
        loc, scale = Normal.unpack(law, phi).values()
        return {"loc": scale, "scale": loc}

    with named("unpack inverts pack"):
        check_law(planted(Normal, unpack=unpack), NORMALS)


def test_a_sampler_of_another_law_is_noticed():
    def law(family, parameters):
        loc, scale = parameters
        return td.Normal(loc, 1.1 * scale, validate_args=False)

    with named("E\\[s sᵀ\\]"):
        check_law(planted(Normal, law=law), NORMALS)


def kl_of_normals(left, right):
    (m, s), (n, t) = left, right
    return (t / s).log() + (s**2 + (m - n) ** 2) / (2 * t**2) - 0.5


def renyi_of_normals(left, right, order):
    (m, s), (n, t) = left, right
    v = (1 - order) * s**2 + order * t**2
    value = (t / s).log() + (t**2 / v).log() / (2 * (order - 1))
    return torch.where(v > 0, value + order * (m - n) ** 2 / (2 * v), torch.inf)


def half_more_far_off(left, right):
    far = (left[1] / right[1]).log().abs() > 0.2
    return kl_of_normals(left, right) * torch.where(far, 1.5, 1.0)


def infinite(left, right):
    return torch.where(left[0] == right[0], 0.0, torch.inf).double()


def third_order(left, right):
    (m, s), (n, t) = left, right
    return ((m - n) ** 2 + (s - t) ** 2) * s / t


@pytest.mark.parametrize(
    ("hook", "wrong", "words"),
    [
        ("relative_entropy", half_more_far_off, "KL is its sum"),
        ("relative_entropy", infinite, "KL is its sum"),
        ("renyi_divergence", lambda a, b, _: renyi_of_normals(a, b, 0.5), "order 0.3"),
        ("renyi_divergence", lambda a, b, o: renyi_of_normals(b, a, o), "order 0.3"),
        ("squared_distance", third_order, "squared_distance is what the quadrature"),
    ],
    ids=["far", "infinite", "no order", "swapped", "third order"],
)
def test_an_exact_value_that_is_off_beyond_second_order_is_noticed(hook, wrong, words):
    hooks = {hook: lambda family, *given: wrong(*given)}
    with named(words):
        check_law(planted(Normal, **hooks), NORMALS)


def test_exact_values_of_any_step_and_order_are_accepted():
    """A closed form of order 2 is ∞ where one scale is twice the other, and may be."""
    hooks = {
        "relative_entropy": lambda _, a, b: kl_of_normals(a, b),
        "renyi_divergence": lambda _, a, b, order: renyi_of_normals(a, b, order),
    }
    check_law(planted(Normal, **hooks), NORMALS)


class Heavier(td.Normal):
    def log_prob(self, value):
        return super().log_prob(value) + 0.1


def test_a_density_that_does_not_sum_to_one_is_noticed():
    def law(family, parameters):
        return Heavier(*parameters, validate_args=False)

    with named("the density sums to one", "1.10"):
        check_law(planted(Normal, law=law), NORMALS)


def test_a_law_that_does_not_apply_can_be_left_out_by_name_alone():
    check_law(Normal, NORMALS, but=("blocks_are_those_of_quadrature",))
    with pytest.raises(AssertionError, match="no laws"):
        check_law(Normal, NORMALS, but=("nothing",))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scale": 0.55}, "tends to 0.55"),
        ({"exact": lambda q, a, b: 1.1 * q.kl(a, b)}, "tends to 0.5"),
        ({"exact": lambda q, a, b: q.kl(a, b) + 1e-3}, "zero between equals"),
        ({"exact": lambda q, a, b: q.kl(a, b) + 1e-12}, "zero between equals"),
        ({"pointwise": lambda t: torch.expm1(t)}, "g\\(log t\\) is not negative"),
        ({"unit": ""}, "a name, a unit"),
    ],
)
def test_a_divergence_that_is_off_is_noticed(change, words):
    with named("kl breaks a law", words):
        check_divergence(replace(kl(), **change))


def own(root, exact=lambda q, a, b: q.kl(a, b), pointwise=None):
    """A divergence with KL's values, if any, and a root of its own."""

    def fisher(q, phi, noise):
        return root(q.root(Tensors.FISHER, phi, noise).dense())

    return Divergence("own", "1", 0.5, Tensors.OTHER, exact, pointwise, root=fisher)


def stretched(factor):
    """A root that is the Fisher information's but for its second parameter."""
    columns = torch.tensor([1.0, factor, 1.0, 1.0], dtype=torch.float64)
    return lambda entries: Matrix(entries * columns)


def nothing(q, phi, other):
    return None


@pytest.mark.parametrize("factor", [1.001, 0.999, -1.01])
def test_a_root_that_is_off_for_one_parameter_alone_is_noticed(factor):
    check_divergence(own(stretched(-1.0)))  # BᵀB is the same, and so is the form
    with named("tends to 0.5"):
        check_divergence(own(stretched(factor)))


def test_a_root_that_nothing_bears_out_is_noticed():
    with named("tends to 0.5", "an exact value, or a mean over draws", "neither"):
        check_divergence(own(stretched(1.0), nothing))


@pytest.mark.parametrize(("factor", "right"), [(1.0, True), (1.2, False)])
def test_a_root_is_held_against_a_mean_over_draws(factor, right):
    made = own(stretched(factor), nothing, kl().pointwise)
    with nullcontext() if right else named("tends to 0.5"):
        check_divergence(made)


def unknown_apart(log_t):
    """Jensen and Shannon's g as it is often written: ∞ · 0 where log t is −∞."""
    mean = torch.nn.functional.softplus(log_t) - math.log(2)
    return (log_t.exp() * (log_t - mean) - mean) / 2


def far(value):
    """KL, but another value of laws that are more than 20 nats apart."""
    return lambda q, a, b: torch.where(q.kl(a, b) > 20, value, q.kl(a, b))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("kl", {"slope": lambda q, a, b: -q.kl_slope(a, b)}, "its slope is"),
        ("kl", {"slope": lambda q, a, b: q.kl_slope(a, b).sum(-1)}, "its slope is"),
        ("kl", {"supremum": 20.0}, "0 to 20"),
        ("kl", {"exact": far(math.inf)}, "finite, at"),
        ("kl", {"exact": far(math.nan), "finite": False}, "0 to inf"),
        ("chi_squared", {"finite": True}, "finite, at"),
        ("jensen_shannon", {"supremum": 0.3}, "0 to 0.3"),
        ("jensen_shannon", {"pointwise": unknown_apart}, "log t = −∞"),
    ],
)
def test_what_a_divergence_says_of_itself_is_held_against_its_values(
    name, change, words
):
    with named(f"{name} breaks a law", words):
        check_divergence(replace(build_divergence(name), **change))


def test_every_other_pointwise_value_is_noticed_by_its_mean():
    hellinger = build_divergence("hellinger").pointwise
    wrong = replace(kl(), pointwise=lambda t: 4 * hellinger(t))
    with named("D = E_q\\[g"):
        check_divergence(wrong)


@dataclass(frozen=True)
class Dear(Gaussian):
    def expected(self, form, spectrum):
        return spectrum.trace.scaled(1.03 * form.scale * self.sigma**2)


@dataclass(frozen=True)
class WithoutConstant(Gaussian):
    def expected(self, form, spectrum):
        return spectrum.trace.scaled(self.sigma**2 / 2)


@dataclass(frozen=True)
class Shifted(Gaussian):
    def draw(self, rng, count, d):
        return super().draw(rng, count, d) + 0.01


@dataclass(frozen=True)
class Keyless(Gaussian):
    def draw(self, rng, count, d):
        return super().draw(np.random.default_rng(), count, d)


@dataclass(frozen=True)
class Long(Gaussian):
    def mean_size(self, d):
        return 1.1 * super().mean_size(d)


@dataclass(frozen=True)
class Light(UniformNorm):
    def sizes(self):
        norms, weights = super().sizes()
        return norms, 0.9 * weights


@dataclass(frozen=True)
class Far(FixedNorm):
    def sizes(self):
        norms, weights = super().sizes()
        return 1.1 * norms, weights


@dataclass(frozen=True)
class Backwards(FixedNorm):
    def sizes(self):
        norms, weights = super().sizes()
        return -norms, weights


@dataclass(frozen=True)
class Sometimes(FixedNorm):
    """At rest in half of all cases, √2 times as long in the others."""

    def sizes(self):
        norms, weights = super().sizes()
        return torch.cat([0 * norms, 2**0.5 * norms]), torch.cat([weights, weights]) / 2


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        (Dear(0.3), "the form's mean over"),
        (WithoutConstant(0.3), "grows with the divergence's constant"),
        (Shifted(0.3), "the form's mean over|the mean that center gives"),
        (Keyless(0.3), "depend on the generator alone"),
        (Long(0.3), "mean_size is E"),
        (Light(0.3), "their weights sum to one"),
        (Backwards(0.3), "norms are not negative"),
        (Far(0.3), "along the worst direction cost what it expects"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_attack_that_is_off_is_noticed(attack, words):
    with named(words):
        check_attack(attack)


def test_an_attack_may_leave_some_inputs_alone():
    check_attack(Sometimes(0.3))


def test_what_a_cost_with_the_constant_would_be_is_said():
    """Under 1 where c is 1/2: this one leaves c out, and should cost twice as much."""
    with named("grows with the divergence's constant") as caught:
        check_attack(WithoutConstant(0.3))
    error = caught.value
    assert torch.equal(error.expected, 2 * error.found)


@pytest.mark.parametrize("name", [n for n in FORMATS if FORMATS.ours(n)])
def test_every_format_keeps_the_laws(name):
    check_render(FORMATS[name])


def changing(report):
    report.warnings.clear()
    return "text"


COUNT = iter(range(100))


@pytest.mark.parametrize(
    ("render", "words"),
    [
        (lambda report: None, "shown as text"),
        (lambda report: " \n", "shown as text"),
        (lambda report: "\ud800", "UTF-8"),
        (lambda report: str(next(COUNT)), "equal reports are equal text"),
        (changing, "a report is not changed"),
    ],
)
def test_a_format_that_is_off_is_noticed(render, words):
    with named(words):
        check_render(render)


def test_our_engine_keeps_the_laws():
    check_engine(ENGINES["local"])


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        (lambda make, jobs, n: reversed(list(map(make(), jobs))), "in their order"),
        (lambda make, jobs, n: iter([]), "one for each"),
        (lambda make, jobs, n: map(make(), [*jobs, 1]), "one for each"),
    ],
)
def test_an_engine_that_is_off_is_noticed(engine, words):
    with named(words):
        check_engine(engine, workers=(1,))


def test_an_engine_that_swallows_errors_is_noticed():
    def run(make, jobs, workers):
        try:
            yield from map(make(), jobs)
        except Exception:
            return

    with named("comes through as it is"):
        check_engine(run, workers=(1,))


@pytest.fixture
def saved(tmp_path):
    x = np.arange(12.0).reshape(4, 3)
    np.savez(tmp_path / "d.npz", x=x, y=x[:, 0].astype("f4"))
    np.save(tmp_path / "d.npy", x)
    return tmp_path, x


def test_our_readers_keep_the_laws(saved):
    folder, x = saved
    arrays = {"x": x, "y": x[:, 0].astype("f4")}
    check_reader(READERS[".npz"], str(folder / "d.npz"), arrays)
    check_reader(READERS[".npy"], str(folder / "d.npy"), {"": x})


@pytest.mark.parametrize(
    ("hook", "value", "words"),
    [
        ("fields", lambda file: {}, "fields names every array"),
        ("fields", lambda file: {"": Field((4, 2), "f8")}, "the shape and dtype"),
        ("window", lambda file, name, a, b: np.zeros((b - a, 3)), "window gives"),
        ("fingerprint", lambda file: "", "the fingerprint is text"),
        ("fingerprint", lambda file: str(next(COUNT)), "the same each time"),
    ],
)
def test_a_reader_that_is_off_is_noticed(saved, hook, value, words):
    folder, x = saved
    reader = planted(READERS[".npy"], **{hook: value})
    with named(words):
        check_reader(reader, str(folder / "d.npy"), {"": x})


MODELS = [SAMPLES / f"heteroscedastic{suffix}" for suffix in (".onnx", ".pt", ".pt2")]


@pytest.fixture(scope="module")
def rows():
    return {"x": np.load(SAMPLES / "heteroscedastic.npz")["x"][:3]}


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.suffix)
def test_our_loaders_keep_the_laws(path, rows):
    check_loader(LOADERS[path.suffix], path, rows, trusted=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda n: {"files": ()}, "the files that it read"),
        (lambda n: {"double": lambda: n}, "double computes the same in float64"),
        (lambda n: {"weights_sha256": "0"}, "weights_sha256 is that of the weights"),
        (lambda n: {"call": lambda v: {}}, "by name"),
        (lambda n: {"call": detached(n)}, "a gradient passes"),
        (lambda n: {"dtype": torch.float64}, "in the type that it says|gradient"),
    ],
)
def test_a_loader_that_is_off_is_noticed(rows, change, words):
    def load(path, device, trusted, cuts):
        network = LOADERS[".onnx"](path, device, trusted, cuts)
        return replace(network, **change(network))

    with pytest.raises((LawBroken, RuntimeError), match=rf"(?s){words}|dtype"):
        check_loader(load, MODELS[0], rows)


def detached(network):
    def call(values):
        return {k: v.detach() for k, v in network.call(values).items()}

    return call


def test_a_broken_law_says_which_where_expected_and_found():
    error = LawBroken("Normal(loc)", "0 is 0", 0, math.pi, "loc = 1")
    assert str(error).splitlines() == [
        "Normal(loc) breaks a law: 0 is 0",
        "  at        loc = 1",
        "  expected  0",
        f"  found     {math.pi}",
    ]
    assert isinstance(error, AssertionError)
    assert json.loads(json.dumps(error.found)) == math.pi


def test_a_family_that_lacks_a_hook_is_told_which_one():
    class Half(Continuous):
        parameterizations = (("scale",),)

        def law(self, parameters):
            return parameters

    with pytest.raises(LawBroken, match="has no bulk_of"):
        check_law(Half, {"scale": [[1.0]]})
    with pytest.raises(LawBroken, match="no subclass of Family"):
        check_law(3, {"scale": [[1.0]]})


@dataclass(frozen=True)
class Off(FixedNorm):
    """Its expected cost is off, by a share of its own size."""

    by: float = 0.0

    def expected(self, form, spectrum):
        found = super().expected(form, spectrum)
        return replace(found, value=found.value * (1 + self.by))


@pytest.mark.parametrize("norm", [1.0, 1e-6])
def test_costs_are_exact_whatever_their_size(norm):
    """Of an attack whose costs are 10⁻¹² too, a thousandth is noticed."""
    its_norms_integrate_the_form(Off(norm))
    its_norms_integrate_the_form(Off(norm, 0.9e-12))
    for by in (1.2e-12, -1.2e-12, 1e-3):
        with named("along the worst direction cost what it expects"):
            its_norms_integrate_the_form(Off(norm, by))


@dataclass(frozen=True)
class Uneven(FixedNorm):
    """It costs a thousandth more where the constant is one."""

    def expected(self, form, spectrum):
        found = super().expected(form, spectrum)
        return replace(found, value=found.value * (1 + 1e-3 * (form.scale == 1)))


def test_a_small_cost_grows_with_the_constant_too():
    its_cost_is_that_of_the_form(FixedNorm(1e-6))
    with named("grows with the divergence's constant"):
        its_cost_is_that_of_the_form(Uneven(1e-6))


@pytest.mark.parametrize(
    ("base", "values", "tolerance"),
    [(Poisson, {"rate": [[0.7], [3.0]]}, 1e-8), (Gumbel, NORMALS, 1e-3)],
)
def test_an_information_is_that_of_the_scores_up_to_the_errors_of_a_sum(
    base, values, tolerance
):
    """BᵀB that is off by a tenth less than is allowed, and by a tenth more."""
    values = {n: torch.tensor(v, dtype=torch.float64) for n, v in values.items()}
    shapes = {name: tuple(value.shape[1:]) for name, value in values.items()}
    for off in (0.9, -0.9, 1.1, -1.1):
        law = scaled(base, "fisher_block", math.sqrt(1 + off * tolerance))(shapes)
        if abs(off) < 1:
            fisher_is_the_sum_over_all_outcomes(Subject(law, values))
            continue
        with named("E\\[s sᵀ\\], summed"):
            fisher_is_the_sum_over_all_outcomes(Subject(law, values))


def broken(*_, **__):
    """What every hook of these plug-ins does."""
    return {}["key"]


class Raising(Normal):
    """A law whose KL raises."""

    kl = broken


@dataclass(frozen=True)
class RaisingAttack(RandomAttack):
    """An attack that cannot draw."""

    expected = mean_size = draw = broken


RAISING = {
    "family": lambda: check_law(Raising, {"loc": [[0.0]] * 2, "scale": [[1.0]] * 2}),
    "divergence": lambda: check_divergence(broken),
    "exact": lambda: check_divergence(replace(kl(), exact=broken)),
    "attack": lambda: check_attack(RaisingAttack()),
    "format": lambda: check_render(broken),
    "engine": lambda: check_engine(broken, workers=(1,)),
    "reader": lambda: check_reader(broken, "rows.raw", {}),
    "loader": lambda: check_loader(broken, "head.npy", {}),
}


@pytest.mark.parametrize("kind", RAISING)
def test_a_hook_that_raises_breaks_the_law_it_was_asked_for(kind):
    with named("breaks a law", r"found +KeyError: 'key' \(test_kit.py:\d+\)"):
        RAISING[kind]()


class Single(td.Normal):
    """A law whose draws, or whose densities, are of single precision."""

    which = ""

    def sample(self, sample_shape=()):
        found = super().sample(sample_shape)
        return found.float() if self.which == "draws" else found

    def log_prob(self, value):
        found = super().log_prob(value.double())
        return found.float() if self.which == "densities" else found


@pytest.mark.parametrize(
    ("which", "words"),
    [("draws", "draws are float64"), ("densities", "log q.*float64")],
)
def test_a_law_in_single_precision_is_noticed(which, words):
    def law(self, parameters):
        found = Single(*parameters, validate_args=False)
        found.which = which
        return found

    with named(words, "found +torch.float32"):
        check_law(planted(Normal, law=law), {"loc": [[0.0]] * 2, "scale": [[1.0]] * 2})


def test_a_sign_of_what_is_no_parameter_is_noticed():
    examples = {"loc": [[0.0]] * 2, "scale": [[1.0]] * 2}
    with named("is a parameter: positive", "scael"):
        check_law(planted(Normal, positive=("scael",)), examples)


@pytest.mark.parametrize(
    "examples",
    [
        None,
        {},
        {"loc": "a"},
        {"loc": 0.0, "scale": 1.0},
        {"loc": [[0.0], [1.0, 2.0]]},
        {"loc": [[0.0]], "scale": [[1.0]] * 2},
        {"loc": [[0.0]], "scale": [[1.0]]},
    ],
)
def test_examples_that_are_no_numbers_are_refused_in_words(examples):
    with pytest.raises(audit.ConfigError, match="Expected parameter -> numbers"):
        check_law(Normal, examples)
