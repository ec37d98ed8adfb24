"""Ground-truth maps of many images, at their native sizes, packed to bits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from fcdd.catalog import Protocol
from fcdd.data.pictures import nearest


@dataclass(frozen=True)
class Masks:
    """Two-valued maps of n images, True = anomalous; `packed` None stands for a map of False.

    Eight pixels take a byte: 160 masks of 1024 x 1024 take 21 MB.
    """

    packed: tuple[np.ndarray | None, ...]
    sizes: tuple[tuple[int, int], ...]  # (height, width) in pixels

    @classmethod
    def pack(cls, maps: Iterable[np.ndarray | None], sizes: Sequence[tuple[int, int]]) -> Self:
        """Packs bool maps [h, w]; None, or a map without True, is kept as None."""
        packed = tuple(None if m is None or not m.any() else np.packbits(m) for m in maps)
        if len(packed) != len(sizes):
            raise ValueError(f"{len(packed)} maps and {len(sizes)} sizes do not belong together")
        return cls(packed, tuple(sizes))

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, index: int) -> np.ndarray:
        """The map of one image, bool [h, w]."""
        (h, w), bits = self.sizes[index], self.packed[index]
        if bits is None:
            return np.zeros((h, w), dtype=bool)
        return np.unpackbits(bits, count=h * w).reshape(h, w).view(bool)

    def resized(self, index: int, size: tuple[int, int], *, how: Protocol = "mended") -> np.ndarray:
        """The map of one image at `size` (height, width), bool, by nearest neighbour.

        "mended" takes the pixel under the centre of each new one, as images are resized;
        "published" the one under its upper left corner, as torch's `interpolate` does by default
        (docs/method.md section 9).
        """
        rows, columns = (
            nearest(old, new) if how == "published" else (2 * np.arange(new) + 1) * old // (2 * new)
            for old, new in zip(self.sizes[index], size, strict=True)
        )
        return self[index].take(rows, axis=0).take(columns, axis=1)

    def select(self, indices: Iterable[int]) -> Self:
        """The maps of `indices`, in their order."""
        chosen = [int(index) for index in indices]
        return type(self)(
            tuple(self.packed[i] for i in chosen), tuple(self.sizes[i] for i in chosen)
        )

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Sizes [n, 2], bytes of each packed map [n], and all packed bits: what a fingerprint of
        the masks is made of."""
        parts = [np.empty(0, np.uint8) if bits is None else bits for bits in self.packed]
        return (
            np.array(self.sizes, np.int64).reshape(-1, 2),
            np.array([len(part) for part in parts], np.int64),
            np.concatenate([np.empty(0, np.uint8), *parts]),
        )
