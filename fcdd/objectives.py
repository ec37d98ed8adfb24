"""The list of objectives: what each makes of the net's outputs (docs/method.md section 1)."""

from typing import assert_never

import torch
from torch import Tensor, nn

from fcdd.config import Run
from fcdd.data.batches import Batch
from fcdd.heatmaps import Spread, gaussian_blur, gaussian_upsampling
from fcdd.losses import (
    anomaly_map,
    fcdd_loss,
    fcdd_map_loss,
    hsc_loss,
    hsc_scores,
    scores,
    squared_error,
)
from fcdd.nets.build import blur_twin, receptive_field


def spread(run: Run, net: nn.Module, *, device: torch.device | str) -> Spread | None:
    """What turns a map of the run's objective into its heatmap, built once for many batches: the
    upsampling of FCDD, the blur of HSC and AE (None without one)."""
    _, *size = run.data.shape
    size, std = (size[0], size[1]), run.heatmaps.gauss_std
    match run.objective.name:
        case "fcdd":
            return gaussian_upsampling(
                receptive_field(net, size),
                size=size,
                std=std,
                upsampling=run.heatmaps.upsampling,
                device=device,
            )
        case "hsc" | "ae":
            if run.heatmaps.blur == "none":
                return None
            return gaussian_blur(blur_twin(run), size=size, std=std, device=device)
        case unknown:
            assert_never(unknown)


def loss(run: Run, outputs: Tensor, *, batch: Batch, upsampling: Spread | None = None) -> Tensor:
    """The training loss, a scalar: the mean over the batch. `upsampling` is the run's `spread`,
    which the pixel-level loss needs. Raises ValueError where it or the batch's maps are missing."""
    match run.objective.name:
        case "fcdd":
            maps = anomaly_map(outputs)
            if not run.objective.maps:
                rule = run.objective.one_label_batches
                return fcdd_loss(maps, batch.labels, one_label_batches=rule)
            if upsampling is None or batch.maps is None:
                raise ValueError("objective.maps needs the upsampling and a batch with maps")
            return fcdd_map_loss(upsampling(maps), batch.maps)
        case "hsc":
            return hsc_loss(outputs, batch.labels)
        case "ae":
            return squared_error(outputs, batch.inputs).mean()
        case unknown:
            assert_never(unknown)


def image_scores(run: Run, outputs: Tensor, *, inputs: Tensor) -> Tensor:
    """Scores [b], at least 0, higher = more anomalous, of network outputs in eval mode: the mean
    of A, h, or the mean squared error over channels and pixels."""
    match run.objective.name:
        case "fcdd":
            return scores(anomaly_map(outputs))
        case "hsc":
            return hsc_scores(outputs)
        case "ae":
            return scores(squared_error(outputs, inputs))
        case unknown:
            assert_never(unknown)


def explain(
    run: Run, net: nn.Module, *, inputs: Tensor, to_heatmap: Spread | None
) -> tuple[Tensor, Tensor]:
    """Scores [b] and heatmaps [b, 1, h, w], at least 0, of a net in eval mode.

    FCDD: the upsampled A. HSC: the absolute gradient of each sample's score with respect to its
    input, summed over channels. AE: the squared error, its mean over channels. `to_heatmap` is the
    run's `spread`.
    """
    match run.objective.name:
        case "fcdd":
            with torch.inference_mode():
                maps = anomaly_map(net(inputs))
                values = scores(maps)
        case "hsc":
            values, maps = _gradients(net, inputs)
        case "ae":
            with torch.inference_mode():
                errors = squared_error(net(inputs), inputs)
                values, maps = scores(errors), errors.mean(1, keepdim=True)
        case unknown:
            assert_never(unknown)
    return values, maps if to_heatmap is None else to_heatmap(maps)


def _gradients(net: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    # In eval mode no sample acts on another, so the gradient of the sum holds every sample's own.
    with torch.inference_mode(False), torch.enable_grad():
        inputs = inputs.detach().clone().requires_grad_()
        values = hsc_scores(net(inputs))
        (gradients,) = torch.autograd.grad(values.sum(), inputs)
    return values.detach(), gradients.abs().sum(1, keepdim=True)
