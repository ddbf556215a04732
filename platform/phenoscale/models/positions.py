"""Fixed 2-D sine-cosine positions, [sin h, cos h, sin w, cos w]. Vaswani et al. (2017); science.md 1.2.

Shapes: D dimensions, L patch tokens (row-major: token = row * grid_size + column).
"""

import torch
from torch import Tensor


def sincos_positions(dim: int, *, grid_size: int) -> Tensor:
    """Position table of a square grid with a zero row for the class token in front.

    Args:
        dim: dimensions of one token, a multiple of 4.
        grid_size: tokens per side.

    Returns:
        float32 [1 + grid_size ** 2, dim].
    """
    assert dim % 4 == 0, f"2-D sine-cosine positions need a multiple of 4 dimensions, got {dim}"
    quarter = dim // 4
    frequencies = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    places = torch.arange(grid_size, dtype=torch.float64)
    rows_L = places.repeat_interleave(grid_size)
    columns_L = places.repeat(grid_size)
    angles_h, angles_w = rows_L[:, None] * frequencies, columns_L[:, None] * frequencies
    table_LD = torch.cat([angles_h.sin(), angles_h.cos(), angles_w.sin(), angles_w.cos()], dim=1)
    return torch.cat([torch.zeros(1, dim, dtype=torch.float64), table_LD]).float()
