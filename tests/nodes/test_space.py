"""Target spaces: how they are written, and their changes of variable."""

import math

import pytest
import torch

from audit.ground.errors import ConfigError
from audit.nodes.coordinates import Coordinate
from audit.nodes.space import parse_space, real_space


def test_commas_in_braces_and_parentheses_do_not_split():
    space = parse_space("rt:positive, choice:{-1,1},a:interval(0,10)")
    assert space.coordinates == (
        Coordinate("rt", "positive"),
        Coordinate("choice", "choice", values=(-1.0, 1.0)),
        Coordinate("a", "interval", low=0.0, high=10.0),
    )
    assert (space.n, space.continuous, space.discrete) == (3, (0, 2), (1,))


def test_a_repeat_numbers_its_coordinates():
    assert parse_space("theta:real*3") == real_space(3)
    assert [c.name for c in real_space(2).coordinates] == ["theta0", "theta1"]


@pytest.mark.parametrize("text", ["x:real", "x:positive", "x:unit", "x:interval(-3,5)"])
def test_the_slope_is_the_derivative_and_the_way_back_is_exact(text):
    space = parse_space(text)
    u = torch.tensor([[-2.0], [0.0], [1.5]], dtype=torch.float64, requires_grad=True)
    theta, slope = space.to_target(u)
    (derivative,) = torch.autograd.grad(theta.sum(), u)
    torch.testing.assert_close(slope, derivative.squeeze(-1).log())
    torch.testing.assert_close(space.from_target(theta), u)


def test_closed_forms_of_the_maps():
    space = parse_space("a:positive,b:unit,c:interval(2,6),d:real")
    u = torch.tensor([math.log(3.0), math.log(4.0), 0.0, 7.0], dtype=torch.float64)
    theta, slope = space.to_target(u)
    expected = torch.tensor([3.0, 0.8, 4.0, 7.0], dtype=torch.float64)
    torch.testing.assert_close(theta, expected)
    assert slope.item() == pytest.approx(math.log(3.0 * 0.16 * 1.0 * 1.0))


def test_all_combinations_of_choices_find_their_columns():
    space = parse_space("c:{0,1},t:real,d:{5,6,7}")
    choices = space.choices()
    assert len(choices) == 6
    theta = space.assemble(torch.full((6, 1), 9.0, dtype=torch.float64), choices)
    assert theta[1].tolist() == [0.0, 9.0, 6.0]
    assert real_space(2).choices().shape == (1, 0)


@pytest.mark.parametrize(
    ("text", "given", "expected", "step"),
    [
        ("", "has the part ''", "NAME:KIND", "--target-space"),
        ("a", "has the part 'a'", "real, positive, unit", "--target-space"),
        ("a:reel", "of kind 'reel'", "interval(LOW,HIGH)", "--target-space"),
        ("a:{}", "of kind '{}'", "different numbers", "{-1,1}"),
        ("a:{1,1}", "of kind '{1,1}'", "different numbers", "{-1,1}"),
        ("a:{x}", "of kind '{x}'", "different numbers", "{-1,1}"),
        ("a:interval(3,1)", "'interval(3,1)'", "a low and a higher end", "space"),
        ("a:interval(0,inf)", "'interval(0,inf)'", "a low and a higher end", "space"),
        ("a:real*0", "repeated 0 times", "at least *1", "--target-space"),
        ("a:real,a:unit", "'a' twice", "its own name", "Rename"),
    ],
)
def test_an_error_says_what_to_write(text, given, expected, step):
    with pytest.raises(ConfigError) as caught:
        parse_space(text)
    assert given in caught.value.given
    assert expected in caught.value.expected
    assert step in caught.value.next_step
