"""Ray's account of a trial that failed, and what can be concluded from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SILENT = (
    "(nothing: so it is when the kernel, Ray's memory monitor or a lost node ended the worker)"
)
_NOT_WRITTEN = ("pipeline.trial.NotWritten: ", "pipeline.stores.StoreError: ")
_OUT_OF_MEMORY = ("node running low on memory", "RAY_memory_usage_threshold")  # Ray's words, 2.60


@dataclass(frozen=True)
class Account:
    """What Ray says of a trial's last failure."""

    text: str

    @property
    def raised(self) -> bool:
        """Whether the worker raised; else it was lost: killed, out of memory or with its node."""
        return "ray::" in self.text and not self.out_of_memory

    @property
    def out_of_memory(self) -> bool:
        """Whether Ray's memory monitor ended the worker. What the kernel ends leaves no word."""
        return any(words in self.text for words in _OUT_OF_MEMORY)

    @property
    def not_written(self) -> bool:
        """Whether the disk or the store failed, and not the run."""
        return any(name in self.text for name in _NOT_WRITTEN)

    @property
    def last_line(self) -> str:
        """The last line, which names what was raised."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        last = lines[-1] if lines else _SILENT
        for name in _NOT_WRITTEN:
            last = last.removeprefix(name)
        return last


def account_of(trial: Any) -> Account:
    """The account of a Tune trial.

    Read where Tune writes it: `trial.get_error` looks where Tune copies it to when all is over.
    """
    path = trial.error_file
    if path is None or not Path(path).exists():
        return Account(_SILENT)
    last = Path(path).read_text(encoding="utf-8", errors="replace").rpartition("Failure # ")[2]
    return Account(last.partition("\n")[2].strip() or _SILENT)
