"""The network of the compact trainer: an anchor-free detector of a few hundred thousand weights.

Written from the papers: cross-stage blocks (CSPNet, Wang et al. 2020, arXiv:1911.11929), pooling
at several sizes before the coarsest map (SPP, He et al. 2014, arXiv:1406.4729), maps joined down
and up again (PANet, Liu et al. 2018, arXiv:1803.01534), a head with branches of their own for
class and box (YOLOX, Ge et al. 2021, arXiv:2107.08430), edges as distances from a point (FCOS,
Tian et al. 2019, arXiv:1904.01355) read from a distribution (GFL, Li et al. 2020,
arXiv:2006.04388). Every square input whose side is a multiple of 32 fits.

torch is imported when a network is built; importing this file imports none of it.
"""

from __future__ import annotations

import math
from typing import Any, Final

STRIDES: Final = (8, 16, 32)
BINS: Final = 12
"""Distances a box edge is read from: 0 to 11 strides."""
_CHANNELS: Final = (64, 128, 256, 384, 512)
"""Of the five maps at full width: strides 2 to 32."""
_DEPTHS: Final = (1, 2, 2, 1)
_CHANNELS_MIN: Final = 8
_PRIOR: Final = 0.01
"""Score that every class begins with (RetinaNet, Lin et al. 2017, arXiv:1708.02002)."""


def build_network(class_count: int, *, width: float) -> Any:
    """A network with fresh weights, drawn from torch's current seed.

    Args:
        class_count: How many classes.
        width: Multiplier of all channels.

    Returns:
        A torch module. In training it gives, for (B, 3, S, S), the class logits (B, N, C), the
        edge logits (B, N, 4, BINS) and the boxes (B, N, 4), x1 y1 x2 y2 in px; in evaluation
        the raw layout (B, 4 + C, N): cx cy w h in px, then one score a class.
    """
    channels = [max(_CHANNELS_MIN, 8 * round(one * width / 8)) for one in _CHANNELS]
    return _network_class()(channels, class_count)


def points_of(side_px: int) -> tuple[Any, Any]:
    """The places a network of this input answers for.

    Returns:
        (N, 2) float32 centres in px, x and y; (N,) float32 strides in px.
    """
    import torch

    centres, strides = [], []
    for stride in STRIDES:
        count = side_px // stride
        line = (torch.arange(count, dtype=torch.float32) + 0.5) * stride
        down, across = torch.meshgrid(line, line, indexing="ij")
        centres.append(torch.stack([across, down], dim=-1).reshape(-1, 2))
        strides.append(torch.full((count * count,), float(stride)))
    return torch.cat(centres), torch.cat(strides)


def _blocks() -> tuple[Any, Any, Any]:
    """The convolution, the cross-stage block and the pooling block, as torch modules."""
    import torch
    from torch import nn

    class Conv(nn.Module):  # type: ignore[misc]  # torch has no types here
        """Convolution, batch normalisation, SiLU."""

        def __init__(self, given: int, made: int, kernel: int = 1, stride: int = 1) -> None:
            super().__init__()
            self.weigh = nn.Conv2d(given, made, kernel, stride, kernel // 2, bias=False)
            self.normalise = nn.BatchNorm2d(made, eps=1e-3, momentum=0.03)

        def forward(self, tensor: Any) -> Any:
            return nn.functional.silu(self.normalise(self.weigh(tensor)))

    class Stage(nn.Module):  # type: ignore[misc]
        """Half the channels pass through residual pairs of convolutions, half pass by."""

        def __init__(self, given: int, made: int, depth: int, *, residual: bool) -> None:
            super().__init__()
            half = made // 2
            self.enter, self.bypass = Conv(given, half), Conv(given, half)
            pairs = [nn.Sequential(Conv(half, half, 3), Conv(half, half, 3)) for _ in range(depth)]
            self.pairs = nn.ModuleList(pairs)
            self.leave = Conv(2 * half, made)
            self.residual = residual

        def forward(self, tensor: Any) -> Any:
            inner = self.enter(tensor)
            for pair in self.pairs:
                inner = inner + pair(inner) if self.residual else pair(inner)
            return self.leave(torch.cat([inner, self.bypass(tensor)], dim=1))

    class Pool(nn.Module):  # type: ignore[misc]
        """The map beside its maxima over 5, 9 and 13 places, made one from another."""

        def __init__(self, channels: int) -> None:
            super().__init__()
            half = channels // 2
            self.enter, self.leave = Conv(channels, half), Conv(4 * half, channels)
            self.pool = nn.MaxPool2d(5, stride=1, padding=2)

        def forward(self, tensor: Any) -> Any:
            maps = [self.enter(tensor)]
            for _ in range(3):
                maps.append(self.pool(maps[-1]))
            return self.leave(torch.cat(maps, dim=1))

    return Conv, Stage, Pool


def _body_class() -> Any:
    """Backbone and neck: three maps of the input, at the strides 8, 16 and 32."""
    import torch
    from torch import nn

    conv, stage, pool = _blocks()

    class Body(nn.Module):  # type: ignore[misc]
        def __init__(self, channels: list[int]) -> None:
            super().__init__()
            c1, c2, c3, c4, c5 = channels
            d2, d3, d4, d5 = _DEPTHS
            self.stem = conv(3, c1, 3, 2)
            self.at_4 = nn.Sequential(conv(c1, c2, 3, 2), stage(c2, c2, d2, residual=True))
            self.at_8 = nn.Sequential(conv(c2, c3, 3, 2), stage(c3, c3, d3, residual=True))
            self.at_16 = nn.Sequential(conv(c3, c4, 3, 2), stage(c4, c4, d4, residual=True))
            self.at_32 = nn.Sequential(
                conv(c4, c5, 3, 2), stage(c5, c5, d5, residual=True), pool(c5)
            )
            self.grow = nn.Upsample(scale_factor=2.0, mode="nearest")
            self.down_16 = stage(c5 + c4, c4, 1, residual=False)
            self.down_8 = stage(c4 + c3, c3, 1, residual=False)
            self.shrink_8, self.shrink_16 = conv(c3, c3, 3, 2), conv(c4, c4, 3, 2)
            self.up_16 = stage(c3 + c4, c4, 1, residual=False)
            self.up_32 = stage(c4 + c5, c5, 1, residual=False)

        def forward(self, tensor: Any) -> list[Any]:
            at_8 = self.at_8(self.at_4(self.stem(tensor)))
            at_16 = self.at_16(at_8)
            at_32 = self.at_32(at_16)
            down_16 = self.down_16(torch.cat([self.grow(at_32), at_16], dim=1))
            out_8 = self.down_8(torch.cat([self.grow(down_16), at_8], dim=1))
            out_16 = self.up_16(torch.cat([self.shrink_8(out_8), down_16], dim=1))
            out_32 = self.up_32(torch.cat([self.shrink_16(out_16), at_32], dim=1))
            return [out_8, out_16, out_32]

    return Body


def _network_class() -> Any:
    """Body and head: from the input to logits and boxes, or to the raw layout."""
    import torch
    from torch import nn

    conv = _blocks()[0]
    body_class = _body_class()

    class Network(nn.Module):  # type: ignore[misc]
        def __init__(self, channels: list[int], class_count: int) -> None:
            super().__init__()
            given = channels[2:]
            inner = max(16, channels[2])
            self.body = body_class(channels)
            self.class_branches = nn.ModuleList(
                nn.Sequential(
                    conv(one, inner, 3), conv(inner, inner, 3), nn.Conv2d(inner, class_count, 1)
                )
                for one in given
            )
            self.edge_branches = nn.ModuleList(
                nn.Sequential(
                    conv(one, inner, 3), conv(inner, inner, 3), nn.Conv2d(inner, 4 * BINS, 1)
                )
                for one in given
            )
            self.register_buffer("bins", torch.arange(BINS, dtype=torch.float32), persistent=False)
            for branch in self.class_branches:
                nn.init.constant_(branch[-1].bias, -math.log(1 / _PRIOR - 1))

        def forward(self, tensor: Any) -> Any:
            maps = self.body(tensor)
            classes = _joined(self.class_branches, maps)
            edges = _joined(self.edge_branches, maps)
            edges = edges.reshape(edges.shape[0], edges.shape[1], 4, BINS)
            centres, strides = points_of(int(tensor.shape[-1]))
            centres, strides = centres.to(tensor.device), strides.to(tensor.device)
            # The distance is the mean of the distribution over the bins.
            distances = (edges.float().softmax(dim=-1) * self.bins).sum(dim=-1)
            distances = distances * strides[:, None]
            least, most = centres - distances[..., :2], centres + distances[..., 2:]
            if self.training:
                return classes.float(), edges.float(), torch.cat([least, most], dim=-1)
            parts = [(least + most) / 2, most - least, classes.float().sigmoid()]
            return torch.cat(parts, dim=-1).transpose(1, 2)

    def _joined(branches: Any, maps: list[Any]) -> Any:
        """(B, N, channels) over the places of all maps."""
        answers = [branch(one).flatten(2) for branch, one in zip(branches, maps, strict=True)]
        return torch.cat(answers, dim=2).transpose(1, 2)

    return Network
