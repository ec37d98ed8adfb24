"""What `fcdd data check` finds, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# A run stops; a run goes on without the file and counts it; numbers stay the same.
Severity = Literal["refused", "counted", "harmless"]


@dataclass(frozen=True)
class Finding:
    """One fault: `path` relative to the checked place, its `kind` (the same words for the same
    fault), `detail` of this one, and the `remedy` for all of its kind."""

    path: str
    kind: str
    severity: Severity
    remedy: str
    detail: str = ""


@dataclass(frozen=True)
class Checked:
    """One data set or pool in the checked place: `layout` in words, where it lies ("" = at the
    top), its class folders, how many images were looked into, what was found, the `settings`
    (`--set` of `fcdd run`) that name it, and the digests of its test images with their names."""

    layout: str
    place: str
    classes: tuple[str, ...]
    num_images: int
    findings: tuple[Finding, ...]
    settings: tuple[str, ...] = ()
    tests: Mapping[bytes, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Report:
    """All data sets and pools of a checked place."""

    place: str
    checked: tuple[Checked, ...]

    @property
    def changes_numbers(self) -> bool:
        """Whether a run would stop, or leave something out."""
        return any(f.severity != "harmless" for c in self.checked for f in c.findings)


@dataclass
class Notes:
    """Collects findings while a place is gone through."""

    findings: list[Finding] = field(default_factory=list)

    def add(self, path: str, kind: str, severity: Severity, remedy: str, detail: str = "") -> None:
        self.findings.append(Finding(path, kind, severity, remedy, detail))
