"""Images of different sizes in one flat buffer, cropped in batches on their device."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Ragged:
    """n images [c, H_i, W_i] in a flat uint8 buffer; image i begins at `starts[i]`.

    Made of arrays it can be shared between processes without a copy; `to` makes it tensors.
    `smallest` is (least height, least width), known on the host so that no crop waits for a device.
    """

    pixels: np.ndarray | Tensor  # uint8 [sum of c * H_i * W_i], each image c h w
    starts: np.ndarray | Tensor  # int64 [n]
    sizes: np.ndarray | Tensor  # int64 [n, 2], height and width
    channels: int
    smallest: tuple[int, int]

    @classmethod
    def from_images(cls, images: Sequence[np.ndarray]) -> Self:
        """Packs uint8 arrays [c, H_i, W_i] of one c. Raises ValueError for none or for others."""
        if not images:
            raise ValueError("no images to pack; give at least one uint8 array [c, h, w]")
        channels = images[0].shape[0] if images[0].ndim == 3 else 0
        for image in images:
            if image.ndim != 3 or image.dtype != np.uint8 or len(image) != channels:
                raise ValueError(
                    f"an image of {image.dtype} {list(image.shape)} cannot be packed with images "
                    f"of {channels} channels; all must be uint8 [c, h, w] with one c"
                )
        sizes = np.array([image.shape[1:] for image in images], np.int64)
        pixels = np.empty(sum(image.size for image in images), np.uint8)
        ragged = cls.from_buffer(pixels, sizes, channels=channels)
        for start, image in zip(ragged.starts.tolist(), images, strict=True):
            pixels[start : start + image.size].reshape(image.shape)[:] = image
        return ragged

    @classmethod
    def from_buffer(cls, pixels: np.ndarray, sizes: np.ndarray, *, channels: int) -> Self:
        """The images that lie one after the other in `pixels`, each c h w, of `sizes` [n, 2]."""
        counts = channels * sizes.prod(axis=1)
        if pixels.shape != (counts.sum(),):
            raise ValueError(
                f"a buffer of {pixels.shape} does not hold {len(sizes)} images of together "
                f"{counts.sum()} values"
            )
        smallest_h, smallest_w = sizes.min(axis=0).tolist()
        return cls(pixels, np.cumsum(counts) - counts, sizes, channels, (smallest_h, smallest_w))

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> np.ndarray | Tensor:
        """One image, uint8 [c, h, w], not copied."""
        start, (h, w) = int(self.starts[index]), (int(side) for side in self.sizes[index])
        count = self.channels * h * w
        return self.pixels[start : start + count].reshape(self.channels, h, w)

    def to(self, device: torch.device | str) -> "Ragged":
        """The same images as tensors on `device`; on the CPU they share the memory of arrays."""
        return Ragged(
            _tensor(self.pixels).to(device),
            _tensor(self.starts).to(device),
            _tensor(self.sizes).to(device),
            self.channels,
            self.smallest,
        )

    def select(self, indices: np.ndarray | Tensor | Sequence[int]) -> "Ragged":
        """The images of `indices` (places, or bool [n]) as arrays in a buffer of their own."""
        places = np.asarray(indices.cpu() if isinstance(indices, Tensor) else indices)
        if places.dtype == bool:
            places = np.flatnonzero(places)
        host = Ragged(
            _array(self.pixels),
            _array(self.starts),
            _array(self.sizes),
            self.channels,
            self.smallest,
        )
        return Ragged.from_images([np.asarray(host[int(place)]) for place in places])

    def random_crops(
        self, indices: Tensor, size: tuple[int, int], stream: torch.Generator
    ) -> Tensor:
        """uint8 [k, c, h, w]: of each image of `indices` [k] a crop of `size`, every place equally
        likely. Raises ValueError if an image is smaller than `size`."""
        sizes = self._sizes(indices, size)
        device = sizes.device
        draws = torch.randint(1 << 31, sizes.shape, generator=stream, device=stream.device)
        # 2^31 draws over at most some thousand places: their odds differ by less than 1e-5.
        room = sizes - torch.tensor(size, device=device) + 1
        return self._crops(indices, size, draws.to(device) % room)

    def centre_crops(self, indices: Tensor, size: tuple[int, int]) -> Tensor:
        """uint8 [k, c, h, w]: the centre of each image of `indices` [k], as torchvision's
        CenterCrop places it (halves to even). Raises ValueError if one is smaller than `size`."""
        room = self._sizes(indices, size)
        room = room - torch.tensor(size, device=room.device)
        half = room // 2
        return self._crops(indices, size, half + (room % 2) * (half % 2))

    def _sizes(self, indices: Tensor, size: tuple[int, int]) -> Tensor:
        if size[0] > self.smallest[0] or size[1] > self.smallest[1]:
            raise ValueError(
                f"crops of {size[0]}x{size[1]} do not fit: the smallest height is "
                f"{self.smallest[0]}, the smallest width {self.smallest[1]}; lower data.size"
            )
        sizes = _tensor(self.sizes)
        return sizes[indices.to(sizes.device)]

    def _crops(self, indices: Tensor, size: tuple[int, int], corners: Tensor) -> Tensor:
        """Crops of `size` whose upper left corners are `corners` [k, 2] (row, column)."""
        (h, w), pixels, starts = size, _tensor(self.pixels), _tensor(self.starts)
        device = pixels.device
        sizes = _tensor(self.sizes)[indices.to(device)]
        heights, widths = sizes[:, :1, None], sizes[:, 1:, None]  # [k, 1, 1]
        rows = corners[:, :1, None] + torch.arange(h, device=device)  # [k, 1, h]
        planes = torch.arange(self.channels, device=device)[:, None]  # [c, 1]
        first = starts[indices.to(device)][:, None, None] + corners[:, 1:, None]
        first = first + (planes * heights + rows) * widths  # [k, c, h]: where each row begins
        # Windows of w pixels at every place of the buffer, a view: the gather copies whole rows
        # and needs an index per row, not per pixel (on one core 4 to 8 ms for 128 crops of
        # 3x224x224, against 270 to 360 ms by an index per pixel).
        return pixels.unfold(0, w, 1).index_select(0, first.flatten()).view(*first.shape, w)


def _array(part: np.ndarray | Tensor) -> np.ndarray:
    return part.cpu().numpy() if isinstance(part, Tensor) else part


def _tensor(part: np.ndarray | Tensor) -> Tensor:
    if isinstance(part, Tensor):
        return part
    # Arrays shared between workers are read-only, which torch warns of; nothing here writes them.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(part)
