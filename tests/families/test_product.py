import pytest
import torch

from audit.families import build_family
from audit.ground.errors import NoTransport
from audit.linalg.stored import LinearOperator

VALUES = {
    "0.loc": torch.tensor([[0.1, 0.2], [1.0, -1.0]]),
    "0.scale": torch.tensor([[0.5, 2.0], [1.0, 0.3]]),
    "1.concentration": torch.tensor([2.0, 0.5]),
    "1.rate": torch.tensor([1.0, 3.0]),
}
SHAPES = {name: tuple(value.shape[1:]) for name, value in VALUES.items()}


def parts_of(values):
    for index, name in enumerate(("normal", "gamma")):
        own = {
            k.partition(".")[2]: v
            for k, v in values.items()
            if k.startswith(f"{index}.")
        }
        family = build_family(name, {k: tuple(v.shape[1:]) for k, v in own.items()})
        yield family, family.pack(own)


def test_tensors_are_block_diagonal():
    family = build_family("normal,gamma", SHAPES)
    phi = family.pack(VALUES)
    for name in ("fisher_root", "transport_root"):
        root = getattr(family, name)(phi)
        blocks = [getattr(part, name)(own).dense() for part, own in parts_of(VALUES)]
        exact = torch.stack(
            [torch.block_diag(*pair) for pair in zip(*blocks, strict=True)]
        )
        torch.testing.assert_close(root.dense(), exact)
        assert_is_consistent(root)


def assert_is_consistent(root: LinearOperator):
    torch.manual_seed(0)
    dense = root.dense()
    n, rows, columns = root.shape
    assert dense.shape == (n, rows, columns)
    right = torch.randn(n, columns, 3, dtype=torch.float64)
    left = torch.randn(n, rows, 3, dtype=torch.float64)
    torch.testing.assert_close(root.matmat(right), dense @ right)
    torch.testing.assert_close(root.rmatmat(left), dense.mT @ left)
    torch.testing.assert_close(root.gram(), dense @ dense.mT)


def test_divergences_and_log_densities_add_up():
    family = build_family("normal,gamma", SHAPES)
    phi, moved = family.pack(VALUES), {k: 1.1 * v for k, v in VALUES.items()}
    pairs = list(zip(parts_of(VALUES), parts_of(moved), strict=True))
    for name in ("kl", "transport_distance"):
        exact = sum(getattr(part, name)(a, b) for (part, a), (_, b) in pairs)
        ours = getattr(family, name)(phi, family.pack(moved))
        torch.testing.assert_close(ours, exact)
    draws = family.distribution(phi).sample((4,))
    (normal, a), (gamma, b) = parts_of(VALUES)
    exact = normal.distribution(a).log_prob(draws[..., :2])
    exact = exact + gamma.distribution(b).log_prob(draws[..., 2])
    torch.testing.assert_close(family.distribution(phi).log_prob(draws), exact)


def test_options_carry_the_place_too():
    family = build_family(
        "quantile,binomial",
        {"0.quantiles": (3,), "1.logits": (2,)},
        **{"0.levels": "0.1,0.5,0.9", "1.total_count": 4},
    )
    assert family.size == 5
    assert family.event_shape == (3,)


def test_a_discrete_part_refuses_the_quadratic_form():
    family = build_family("normal,poisson", {"0.loc": (), "0.scale": (), "1.rate": ()})
    phi = torch.ones(1, 3, dtype=torch.float64)
    with pytest.raises(NoTransport, match="poisson"):
        family.transport_root(phi)
    assert family.linear_root(phi) is None
    assert not family.discrete


def test_a_part_that_has_to_be_sampled_leaves_its_bound():
    shapes = {
        "0.logits": (2,),
        "0.loc": (2, 2),
        "0.scale": (2, 2),
        "1.rate": (),
    }
    family = build_family("mixture:normal,poisson", shapes)
    phi = torch.ones(1, family.size, dtype=torch.float64)
    assert family.fisher_root(phi) is None
    assert family.complete_fisher_root(phi).shape == (1, 11, 11)
