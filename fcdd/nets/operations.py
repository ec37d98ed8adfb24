"""How operations between the modules of a traced net change what a value sees, by their name.

Each takes the node of the graph and what its inputs see that depend on the image.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import fx

from fcdd.nets.seen import Seen, joined, permuted, pooled_to, window

Operation = Callable[[fx.Node, Sequence[Seen]], Seen | None]


def name_of(node: fx.Node) -> str:
    """The plain name of an operation: "add" for `torch.add`, `operator.iadd` and `x.add_()`."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    name = name.strip("_")
    return name[1:] if name in ("iadd", "isub", "imul", "itruediv") else name


def _argument(node: fx.Node, place: int, name: str, default: Any = None) -> Any:
    given = node.args[place] if len(node.args) > place else default
    return node.kwargs.get(name, given)


def _same(node: fx.Node, inputs: Sequence[Seen]) -> Seen:
    return inputs[0]


def _joined(node: fx.Node, inputs: Sequence[Seen]) -> Seen:
    return joined(inputs)


def _no_image(node: fx.Node, inputs: Sequence[Seen]) -> None:
    return None


def _check_channels(node: fx.Node, seen: Seen, dim: int) -> None:
    if seen.dims[dim] != "c":
        raise ValueError(
            f"{name_of(node)} along dimension {dim} moves cells, unlike along channels"
        )


def _stacked(node: fx.Node, inputs: Sequence[Seen]) -> Seen:
    _check_channels(node, inputs[0], _argument(node, 1, "dim", 0))
    return joined(inputs)


def _split(node: fx.Node, inputs: Sequence[Seen]) -> Seen:
    _check_channels(node, inputs[0], _argument(node, 2, "dim", 0))
    return replace(inputs[0], parts=True)


def _item(node: fx.Node, inputs: Sequence[Seen]) -> Seen:
    """One of several values, or one channel as in x[:, 0]."""
    index, seen = node.args[1], inputs[0]
    if seen.parts and isinstance(index, int):
        return replace(seen, parts=False)
    every = [slice(None)] * len(seen.dims)
    if isinstance(index, tuple) and list(index[:1]) == every[:1]:
        places = [*index, *every[len(index) :]]
        channel = seen.dims.find("c")
        if places[:channel] + places[channel + 1 :] == every[1:]:
            kept = "" if isinstance(places[channel], int) else "c"
            return replace(seen, dims=seen.dims.replace("c", kept))
    raise ValueError(f"the index {index} may move cells")


def _unsqueezed(node: fx.Node, inputs: Sequence[Seen]) -> Seen:
    dim, dims = _argument(node, 1, "dim"), inputs[0].dims
    if "c" in dims:
        raise ValueError(f"it adds a dimension to [{dims}]")
    return replace(inputs[0], dims=f"{dims[:dim]}c{dims[dim:]}")


def _permuted(node: fx.Node, inputs: Sequence[Seen]) -> Seen:
    order: Any = node.args[1:]
    return permuted(inputs[0], order[0] if isinstance(order[0], tuple | list) else order)


def _max_pool(node: fx.Node, inputs: Sequence[Seen]) -> Seen:
    return window(
        inputs[0],
        kernel=_argument(node, 1, "kernel_size"),
        stride=_argument(node, 2, "stride"),
        padding=_argument(node, 3, "padding", 0),
        dilation=_argument(node, 4, "dilation", 1),
        ceil=_argument(node, 5, "ceil_mode", False),
    )


def _avg_pool(node: fx.Node, inputs: Sequence[Seen]) -> Seen:
    return window(
        inputs[0],
        kernel=_argument(node, 1, "kernel_size"),
        stride=_argument(node, 2, "stride"),
        padding=_argument(node, 3, "padding", 0),
        ceil=_argument(node, 4, "ceil_mode", False),
    )


def _adaptive_pool(node: fx.Node, inputs: Sequence[Seen]) -> Seen:
    return pooled_to(inputs[0], _argument(node, 1, "output_size"))


def _mean(node: fx.Node, inputs: Sequence[Seen]) -> Seen:
    if sorted(_argument(node, 1, "dim", ())) != [2, 3] or not _argument(node, 2, "keepdim", False):
        raise ValueError("the mean leaves no receptive field; take an earlier layer")
    return replace(inputs[0], axes=None)


OPERATIONS: dict[str, Operation] = {
    **dict.fromkeys(("add", "sub", "mul", "truediv", "div", "maximum", "minimum"), _joined),
    **dict.fromkeys(("relu", "leaky_relu", "relu6", "silu", "gelu", "sigmoid", "tanh"), _same),
    **dict.fromkeys(("hardtanh", "hardsigmoid", "hardswish", "elu", "mish"), _same),
    **dict.fromkeys(("dropout", "dropout2d", "stochastic_depth"), _same),
    **dict.fromkeys(("batch_norm", "layer_norm", "group_norm", "instance_norm"), _same),
    **dict.fromkeys(("contiguous", "clone", "detach", "channel_shuffle"), _same),
    **dict.fromkeys(("size", "getattr", "dim"), _no_image),
    **dict.fromkeys(("cat", "concat"), _stacked),
    **dict.fromkeys(("chunk", "split"), _split),
    "getitem": _item,
    "unsqueeze": _unsqueezed,
    "permute": _permuted,
    "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool,
    "adaptive_avg_pool2d": _adaptive_pool,
    "adaptive_max_pool2d": _adaptive_pool,
    "mean": _mean,
}
