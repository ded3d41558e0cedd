"""An encoder's map as its mean and as a coarse grid, with the frame itself, small and grey, behind them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engines.encoders.thumbnail import Thumbnail, shares


class GridAndThumbnail(nn.Module):
    """Frames uint8 `[N, H, W, 3]` BGR to `[N, C + C * rows * columns + h * w]`.

    First the map's mean, then the grid channel by channel, then the thumbnail. A cell of the grid is the mean of the
    map under it, also where its edges lie within cells of the map.
    """

    rows: Tensor
    columns: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        cells: tuple[int, int],
        grid: tuple[int, int],
        frame: tuple[int, int],
        thumbnail: tuple[int, int],
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.thumbnail = Thumbnail(frame, thumbnail)
        self.register_buffer("rows", shares(grid[0], cells[0]), persistent=False)
        self.register_buffer("columns", shares(grid[1], cells[1]).T, persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Features of frames."""
        maps = self.encoder(frames)
        grid = torch.matmul(torch.matmul(self.rows, maps), self.columns)
        return torch.cat([maps.mean((2, 3)), grid.flatten(1), self.thumbnail(frames)], 1)
