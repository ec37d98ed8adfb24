"""What a command needs beyond the base installation."""


class needs:
    """Says which extra is missing when an import inside fails."""

    def __init__(self, extra: str) -> None:
        self._extra = extra

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        outer = {"torch", "torchvision", "safetensors", "ray", "mlflow", "PIL"}
        if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in outer:
            raise ValueError(
                f"this command needs {error.name!r}, of the extra {self._extra!r}; "
                f"install it with: pip install 'fcdd[{self._extra}]'"
            ) from error
