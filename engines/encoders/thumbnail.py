"""An encoder that also gives the frame itself, small and grey, behind its features: what moved can be seen in it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WithThumbnail(nn.Module):
    """Frames uint8 `[N, H, W, 3]` BGR to `[N, D + h * w]`: the encoder's vector, then the thumbnail row by row."""

    def __init__(self, encoder: nn.Module, frame: tuple[int, int], thumbnail: tuple[int, int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.thumbnail = Thumbnail(frame, thumbnail)

    def forward(self, frames: Tensor) -> Tensor:
        """Features of frames."""
        return torch.cat([self.encoder(frames), self.thumbnail(frames)], 1)


class Thumbnail(nn.Module):
    """Frames uint8 `[N, H, W, 3]` BGR to `[N, h * w]`, row by row.

    A cell of the thumbnail is the mean, from 0 to 1, of the grey under it (the mean of the channels), also where its
    edges lie within pixels.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, frame: tuple[int, int], thumbnail: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("rows", shares(thumbnail[0], frame[0]), persistent=False)
        self.register_buffer("columns", shares(thumbnail[1], frame[1]).T / 255.0, persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Thumbnails of frames."""
        grey = frames.to(self.rows.dtype).mean(3)
        return torch.matmul(torch.matmul(self.rows, grey), self.columns).flatten(1)


def shares(cells: int, pixels: int) -> Tensor:
    """How much of each cell each pixel makes up, `[cells, pixels]`, for cells of equal size; rows sum to one."""
    edges = torch.arange(cells + 1) * (pixels / cells)
    starts = torch.arange(pixels)
    covered = torch.minimum(edges[1:, None], starts + 1.0) - torch.maximum(edges[:-1, None], starts.float())
    return covered.clamp(min=0) * (cells / pixels)
