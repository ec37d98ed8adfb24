"""The command line. Each command imports what it needs inside itself, so that --help is quick."""

import os
from typing import Annotated

import typer

from jobs.commands import audit, compact, data, mlflow, plan, report, run, snapshots, status

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Typer 0.29 imports pydantic for its own --help, unset, of a group: a third of the start.
    add_help_option=False,
    help="Benchmarks of explainable one-class classification of images (FCDD).",
)
app.command()(run.run)
app.command()(status.status)
app.command()(plan.plan)
app.command()(audit.audit)
app.command()(report.report)
app.command()(report.verify)
app.command()(compact.compact)
app.command("import")(snapshots.import_snapshot)
app.add_typer(data.app, name="data")
app.add_typer(mlflow.app, name="mlflow")

# Read by Ray and MLflow when they are imported, so set before; a user's own values win.
SWITCHES = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # five files a trial, a pickle among them
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # rows are the truth, not Tune's state
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # a single-node Ray listens on loopback only
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's own console
    "RAY_AUTH_MODE": "token",  # for every command, not only where Ray starts
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a concurrent run died in it
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines a run, with a server
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # the defaults block for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
}


def _show_help(context: typer.Context, asked: bool) -> None:
    if asked:
        typer.echo(context.get_help(), nl=False)
        raise typer.Exit


@app.callback()
def _options(
    help_: Annotated[
        bool,
        typer.Option(
            "--help", is_eager=True, callback=_show_help, help="Show this message and exit."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    if debug:
        os.environ["FCDD_DEBUG"] = "1"
