"""Images of different sizes in one flat buffer, cropped in batches on their device."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Ragged:
    """n images [c, H_i, W_i] in a flat uint8 buffer; image i begins at `starts[i]`."""

    pixels: np.ndarray | Tensor  # uint8 [sum of c * H_i * W_i]
    starts: np.ndarray | Tensor  # int64 [n]
    sizes: np.ndarray | Tensor  # int64 [n, 2], height and width
    channels: int

    def __len__(self) -> int:
        return len(self.starts)
