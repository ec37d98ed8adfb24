"""The shapes in the docstrings of losses and heatmaps hold: the shipped functions, under a checker.

Axis letters: b batch, c channels, d dimensions, h w image, u v network output.
"""

import inspect
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import pytest
import torch
from beartype import beartype
from jaxtyping import Bool, Float, TypeCheckError, jaxtyped
from torch import Tensor

from fcdd import heatmaps, losses
from fcdd.receptive import Axis

Maps = Float[Tensor, "b 1 u v"]
Images = Float[Tensor, "b c h w"]
PerImage = Float[Tensor, "b"]
Labels = Bool[Tensor, "b"]
Scalar = Float[Tensor, ""]

SHAPES: dict[ModuleType, dict[str, dict[str, Any]]] = {
    losses: {
        "anomaly_map": {"outputs": Maps, "return": Maps},
        "scores": {"maps": Maps, "return": PerImage},
        "fcdd_loss": {"maps": Maps, "labels": Labels, "return": Scalar},
        "fcdd_map_loss": {
            "heatmaps": Float[Tensor, "b 1 h w"],
            "truth": Float[Tensor, "b 1 h w"],
            "return": Scalar,
        },
        "hsc_scores": {"outputs": Float[Tensor, "b d"], "return": PerImage},
        "hsc_loss": {"outputs": Float[Tensor, "b d"], "labels": Labels, "return": Scalar},
        "squared_error": {"outputs": Images, "inputs": Images, "return": Images},
    },
    heatmaps: {
        "gaussian_kernel": {"return": Float[Tensor, "{extent}"]},
        "upsampling_matrix": {"return": Float[Tensor, "{size} {axis.num_cells}"]},
        "upsample": {"maps": Maps, "return": Float[Tensor, "b 1 {size[0]} {size[1]}"]},
        "blur_matrix": {"return": Float[Tensor, "{size} {size}"]},
        "normalise": {"maps": Float[Tensor, "k *rest"], "return": Float[Tensor, "k *rest"]},
        "kth_smallest": {"values": Float[Tensor, "k n"], "return": Float[Tensor, "k"]},
    },
}


def checked(module: ModuleType, name: str) -> Callable[..., Any]:
    """The function `name` of `module`, its code unchanged, with SHAPES as its annotations."""
    shipped: FunctionType = getattr(module, name)
    copy = FunctionType(shipped.__code__, shipped.__globals__, name, shipped.__defaults__)
    copy.__kwdefaults__ = shipped.__kwdefaults__
    copy.__annotations__ = shipped.__annotations__ | SHAPES[module][name]
    return jaxtyped(typechecker=beartype)(copy)


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


ROWS = Axis(num_cells=7, jump=4, extent=15, shift=1.5)
COLUMNS = Axis(num_cells=8, jump=4, extent=16, shift=1.5)
LABELS = torch.tensor([True, False, True])
CALLS: dict[str, Callable[[Callable[..., Any]], Any]] = {
    "anomaly_map": lambda f: f(random(3, 1, 7, 8)),
    "scores": lambda f: f(random(3, 1, 7, 8)),
    "fcdd_loss": lambda f: f(random(3, 1, 7, 8).abs(), LABELS),
    "fcdd_map_loss": lambda f: f(random(3, 1, 28, 32).abs(), (random(3, 1, 28, 32) > 1).float()),
    "hsc_scores": lambda f: f(random(3, 5)),
    "hsc_loss": lambda f: f(random(3, 5), LABELS),
    "squared_error": lambda f: f(random(3, 2, 28, 32), random(3, 2, 28, 32)),
    "gaussian_kernel": lambda f: f(16, 1.2),
    "upsampling_matrix": lambda f: f(ROWS, 28, None),
    "upsample": lambda f: f(random(3, 1, 7, 8), (ROWS, COLUMNS), size=(28, 32), std=1.2),
    "blur_matrix": lambda f: f(15, 28, 2.0),
    "normalise": lambda f: f(random(3, 1, 28, 32), how="semi_global", quantile=0.9),
    "kth_smallest": lambda f: f(random(3, 9), 0.5),
}
REFUSED: dict[str, Callable[[Callable[..., Any]], Any]] = {
    "anomaly_map": lambda f: f(random(3, 2, 7, 8)),  # two channels
    "scores": lambda f: f(random(3, 7, 8)),  # no channel axis
    "fcdd_loss": lambda f: f(random(3, 1, 7, 8).abs(), LABELS[:2]),  # fewer labels than maps
    "fcdd_map_loss": lambda f: f(random(3, 1, 28, 32), random(3, 1, 7, 8)),  # not upsampled
    "hsc_loss": lambda f: f(random(3, 5), LABELS.float()),  # labels are not numbers
    "squared_error": lambda f: f(random(3, 2, 28, 32), random(3, 1, 28, 32)),  # would broadcast
    "upsample": lambda f: f(random(3, 7, 8), (ROWS, COLUMNS), size=(28, 32), std=1.2),
}
TABLE = [(module, name) for module, names in SHAPES.items() for name in names]


def test_table_names_every_public_function_of_tensors() -> None:
    for module in SHAPES:
        public = {
            name
            for name, function in inspect.getmembers(module, inspect.isfunction)
            if function.__module__ == module.__name__
            and not name.startswith("_")
            and function.__annotations__["return"] is Tensor
        }
        assert set(SHAPES[module]) == public, module.__name__


@pytest.mark.parametrize(
    ("module", "name"), TABLE, ids=lambda value: getattr(value, "__name__", value)
)
def test_shapes_are_as_the_docstring_says(module: ModuleType, name: str) -> None:
    result = CALLS[name](checked(module, name))
    assert torch.equal(result, CALLS[name](getattr(module, name)))


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_shape_is_refused(name: str) -> None:
    (module,) = (module for module, known in TABLE if known == name)
    with pytest.raises(TypeCheckError, match="Type-check error"):
        REFUSED[name](checked(module, name))
