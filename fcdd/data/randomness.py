"""Random streams: one per purpose of a seed (docs/method.md section 8)."""

import hashlib
from dataclasses import dataclass

import torch


def generator(seed: int, purpose: str, *, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for one purpose of one seed; purposes are independent streams."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    stream = torch.Generator(device=device)
    stream.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return stream


@dataclass(frozen=True)
class Streams:
    """Where a batch operation draws from: `device` for numbers of every pixel or image, `host` for
    what decides shapes and order, so that nothing waits for a device. On the CPU they are one."""

    device: torch.Generator
    host: torch.Generator


def streams(seed: int, purpose: str, *, device: torch.device) -> Streams:
    """The two generators for one purpose of one seed on `device`."""
    stream = generator(seed, purpose, device=device)
    if device.type == "cpu":
        return Streams(stream, stream)
    return Streams(stream, generator(seed, f"{purpose}/host"))
