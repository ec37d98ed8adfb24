"""`fcdd import`: snapshots of the authors' published code."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jobs.commands.needs import needs

if TYPE_CHECKING:
    from fcdd.snapshot_config import Custom


def import_snapshot(
    snapshot: Annotated[Path, typer.Argument(help="snapshot.pt of the published code.")],
    config: Annotated[Path, typer.Option(help="The config.txt that lies beside it.")],
    out: Annotated[Path, typer.Option(help="The model file to write (.safetensors).")],
    classes: Annotated[
        str | None, typer.Option(help="Custom data only: all classes, sorted, as a,b,c.")
    ] = None,
    layout: Annotated[
        Literal["one_vs_rest", "nominal_anomalous"] | None,
        typer.Option(help="Custom data only: one_vs_rest if started with -ovr."),
    ] = None,
    maps: Annotated[bool, typer.Option(help="Custom data only: started with -gtms.")] = False,
    mean: Annotated[
        str | None, typer.Option(help="Custom data only: of the class, per channel, as r,g,b.")
    ] = None,
    std: Annotated[
        str | None, typer.Option(help="Custom data only: of the class, per channel, as r,g,b.")
    ] = None,
) -> None:
    """Turn a snapshot of the authors' code into a model file of ours; no code in it is run."""
    custom = _custom(classes=classes, layout=layout, maps=maps, mean=mean, std=std)
    with needs("run"):
        from fcdd.model_file import write_model
        from fcdd.snapshots import import_snapshot as read

        run, net, normalisation = read(snapshot, config=config, custom=custom)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_model(out, net, run=run, normalisation=normalisation)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    print(
        f"{out}: {run.net.name} ({parameters:,} parameters), {run.objective.name} on "
        f"{run.data.name}, nominal class {run.data.normal_class} ({run.data.class_name})"
    )


def _custom(
    *,
    classes: str | None,
    layout: Literal["one_vs_rest", "nominal_anomalous"] | None,
    maps: bool,
    mean: str | None,
    std: str | None,
) -> "Custom | None":
    from fcdd.snapshot_config import Custom

    if not any((classes, layout, maps, mean, std)):
        return None
    if classes is None or layout is None or mean is None or std is None:
        raise ValueError(
            "the config.txt of custom data lacks --classes, --layout, --mean and --std: give all "
            "four (and --maps if the snapshot was trained with -gtms); other data need none"
        )
    return Custom(
        classes=tuple(classes.split(",")),
        layout=layout,
        maps=maps,
        mean=_numbers(mean, "--mean"),
        std=_numbers(std, "--std"),
    )


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise ValueError(f"{option} {text!r} must be numbers as in 0.5,0.4,0.3") from None
