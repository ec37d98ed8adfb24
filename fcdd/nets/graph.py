"""The receptive field of any net, from the graph of its modules (docs/method.md section 2).

Every value of the traced graph is followed from the image on. What does not look at places of the
image (attention, flattening) is refused. Pooling over the whole image is refused too, unless its
result only scales channels, as in squeeze-and-excitation: such a factor has no place, so it does
not count to what a cell sees; neither do the statistics of normalisation.
"""

from torch import fx, nn

from fcdd.nets.operations import OPERATIONS, name_of
from fcdd.nets.seen import Seen, permuted, pooled_to, window
from fcdd.receptive import Axis, pixels

_POINTWISE = (
    *(nn.ReLU, nn.LeakyReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Sigmoid, nn.Tanh, nn.Hardtanh),
    *(nn.Hardsigmoid, nn.Hardswish, nn.ELU, nn.Mish, nn.PReLU, nn.Softplus, nn.Identity),
    *(nn.Dropout, nn.Dropout2d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm2d),
)
# Modules of torchvision, which is not imported here.
_POINTWISE_NAMES = ("StochasticDepth", "FrozenBatchNorm2d", "LayerNorm2d", "SqueezeExcitation")


def graph_field(traced: fx.GraphModule, size: tuple[int, int]) -> tuple[Axis, Axis]:
    """What the cells of the output see along (height, width), for images of `size`.

    Raises ValueError naming the first operation without a receptive field, or an output that is no
    map [b, c, u, v].
    """
    seen: dict[fx.Node, Seen | None] = {}
    for node in traced.graph.nodes:
        inputs = [found for one in node.all_input_nodes if (found := seen.get(one)) is not None]
        match node.op:
            case "placeholder":
                seen[node] = Seen((pixels(size[0]), pixels(size[1])))
            case "output":
                return _field(inputs)
            case _:
                seen[node] = _step(traced, node, inputs) if inputs else None
    raise ValueError("the graph has no output")


def _field(outputs: list[Seen]) -> tuple[Axis, Axis]:
    axes = outputs[0].axes if len(outputs) == 1 else None
    if axes is None or outputs[0].dims != "bchw":
        found = [one.dims if one.axes is not None else "without a place" for one in outputs]
        raise ValueError(f"the output must be one map [bchw], not {found}; take another layer")
    return axes


def _step(traced: fx.GraphModule, node: fx.Node, inputs: list[Seen]) -> Seen | None:
    try:
        if node.op == "call_module":
            return _module(traced.get_submodule(str(node.target)), inputs[0])
        operation = OPERATIONS.get(name_of(node))
        if operation is None:
            raise _unknown(name_of(node))
        return operation(node, inputs)
    except ValueError as error:
        place = node.target if node.op == "call_module" else node.name
        raise ValueError(f"no receptive field at {str(place)!r}: {error}") from None


def _unknown(what: str) -> ValueError:
    return ValueError(
        f"{what} is no operation on places of the image known here; take an earlier layer, or a "
        "convolutional net"
    )


def _module(module: nn.Module, seen: Seen) -> Seen:
    match module:
        case nn.Conv2d() | nn.MaxPool2d():
            return window(
                seen,
                kernel=module.kernel_size,
                stride=module.stride,
                padding=module.padding,
                dilation=module.dilation,
                ceil=isinstance(module, nn.MaxPool2d) and module.ceil_mode,
            )
        case nn.AvgPool2d():
            return window(
                seen,
                kernel=module.kernel_size,
                stride=module.stride,
                padding=module.padding,
                ceil=module.ceil_mode,
            )
        case nn.AdaptiveAvgPool2d() | nn.AdaptiveMaxPool2d():
            return pooled_to(seen, module.output_size)
        case nn.Sequential():  # torchvision's blocks that tracing keeps whole
            for child in module:
                seen = _module(child, seen)
            return seen
        case nn.Linear() if seen.dims.endswith("c"):
            return seen
    name = type(module).__name__
    if isinstance(module, _POINTWISE) or name in _POINTWISE_NAMES:
        return seen
    if name == "Permute":
        return permuted(seen, getattr(module, "dims"))  # noqa: B009 - torchvision's, not typed
    raise _unknown(name)
