"""What one value inside a net sees of the image, and how the kinds of layers change it
(docs/method.md section 2)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from fcdd.receptive import Axis, Layer, advance, join

Numbers = int | Sequence[int]


@dataclass(frozen=True)
class Seen:
    """What the cells of one value see along (height, width); None: it has no place in the image,
    but is the same for all cells. `dims` names its dimensions in order: b, c, h, w. `parts`: it is
    a tuple of such values."""

    axes: tuple[Axis, Axis] | None
    dims: str = "bchw"
    parts: bool = False


def window(
    seen: Seen,
    *,
    kernel: Numbers,
    stride: Numbers | None,
    padding: Numbers | str,
    dilation: Numbers = 1,
    ceil: bool = False,
) -> Seen:
    """After a convolution or pooling, with the arguments of PyTorch's. Raises ValueError for
    padding by a word and for values that are no map [b, c, h, w]."""
    if isinstance(padding, str):
        raise ValueError(f"padding {padding!r} has no receptive field known here; use numbers")
    height, width = (
        Layer(
            kernel=_along(kernel, axis),
            stride=_along(kernel if stride is None else stride, axis),
            padding=_along(padding, axis),
            dilation=_along(dilation, axis),
            ceil=ceil,
        )
        for axis in (0, 1)
    )
    if seen.axes is None:
        if height.kernel == width.kernel == 1:
            return seen
        raise ValueError("a kernel larger than 1 acts on a value without a place in the image")
    if seen.dims != "bchw":
        raise ValueError(f"a convolution or pooling acts on [{seen.dims}], not on [bchw]")
    return replace(seen, axes=(advance(seen.axes[0], height), advance(seen.axes[1], width)))


def _along(value: Numbers, axis: int) -> int:
    if isinstance(value, int):
        return value
    return value[axis] if len(value) > 1 else value[0]


def pooled_to(seen: Seen, size: object) -> Seen:
    """After pooling to a fixed size. Raises ValueError unless that is 1 x 1."""
    if size not in (1, (1, 1), [1, 1]):
        raise ValueError(
            f"pooling to a fixed size of {size} leaves no receptive field; take an earlier layer"
        )
    return replace(seen, axes=None)


def permuted(seen: Seen, order: Iterable[int]) -> Seen:
    """With the dimensions in another order."""
    return replace(seen, dims="".join(seen.dims[place] for place in order))


def joined(inputs: Sequence[Seen]) -> Seen:
    """After adding or multiplying values element by element, or stacking their channels. Raises
    ValueError for maps whose cells do not lie on one grid."""
    placed = [one for one in inputs if one.axes is not None]
    if not placed:
        return inputs[0]
    if len({one.dims for one in placed}) > 1:
        layouts = " and ".join(f"[{one.dims}]" for one in placed)
        raise ValueError(f"it joins maps laid out as {layouts}")
    heights, widths = zip(*(one.axes for one in placed if one.axes is not None), strict=True)
    return replace(placed[0], axes=(join(heights), join(widths)))
