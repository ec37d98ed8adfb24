"""Cutting a net of torchvision after a layer, by its traced graph."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from torch import fx, nn
from torch.fx.node import map_arg

from fcdd.vision import torchvision


def cut_after(model: nn.Module, layer: str, *, name: str) -> fx.GraphModule:
    """`model`, called `name` in errors, up to and with `layer`: the name of a module, or of an
    operation as torchvision counts them. Its modules keep their names; those unused are gone.

    Raises ValueError for an unknown layer, with those close to it.
    """
    torchvision()
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names
    from torchvision.models.shufflenetv2 import channel_shuffle

    def tracing() -> dict[str, Any]:  # torchvision writes into what it is given
        return {"autowrap_functions": (channel_shuffle,)}

    both = get_graph_node_names(model, tracer_kwargs=tracing(), suppress_diff_warning=True)
    train, evaluation = ({head for one in names for head in _heads(one)} for names in both)
    if layer not in train & evaluation:
        close = similar(layer, sorted(train & evaluation))
        raise ValueError(f"no net.trunk_layer {layer!r} in {name!r}; {close}")
    extractor = create_feature_extractor(
        model, [layer], tracer_kwargs=tracing(), suppress_diff_warning=True
    )
    return _one_graph(extractor, where=f"net.trunk {name!r} up to {layer!r}")


def _one_graph(extractor: Any, *, where: str) -> fx.GraphModule:
    """torchvision keeps one graph for training and one for evaluation, and a copy of that module
    loses its mode and statistics. Up to a layer both are the same, so one is enough."""
    if _steps(extractor.train_graph) != _steps(extractor.eval_graph):
        raise ValueError(
            f"{where} runs other operations in training than in evaluation, as attention and "
            "auxiliary heads do; take an earlier layer, or a convolutional net"
        )
    graph: fx.Graph = extractor.eval_graph
    (output,) = (node for node in graph.nodes if node.op == "output")
    output.args = (output.all_input_nodes[0],)
    return fx.GraphModule(extractor, graph)


def _steps(graph: fx.Graph) -> list[str]:
    """What a graph does, whatever its nodes are called."""
    places = {node: place for place, node in enumerate(graph.nodes)}

    def place(node: fx.Node) -> int:
        return places[node]

    return [
        f"{node.op} {'' if node.op == 'placeholder' else node.target} "
        f"{map_arg((node.args, node.kwargs), place)}"  # pyright: ignore[reportArgumentType]
        for node in graph.nodes
    ]


def _heads(name: str) -> list[str]:
    """ "layer1.0.conv1": also "layer1.0" and "layer1"."""
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def similar(name: str, known: Sequence[str]) -> str:
    """The end of an error: what is close to `name`, else what there is."""
    close = get_close_matches(name, known, n=5, cutoff=0.5)
    if close:
        return f"close to it: {', '.join(close)}"
    top = [one for one in known if "." not in one]
    return f"known: {', '.join(top[:20])}" + (", ..." if len(top) > 20 else "")
