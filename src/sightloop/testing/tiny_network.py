"""A small real detector of fixed kernels, written twice: as an ONNX graph and in numpy.

What it computes: two colour contrasts (darker; brighter and warmer than the surroundings), a soft
mask of each, and from a 32 px window around every 8 px cell the mask's mass, centre and spread:
an ellipse's box is its centre plus and minus about twice its standard deviation. Each cell answers
once a kind, so neighbours find the same object and suppression has work to do.

Invariant: `reference_output` and the graph of `build_graph` share the constants below and nothing
else; expected detections are computed with the first, never with the exported file. The
constants fit `plates.py`; this detects nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Kind = Literal["dark", "bright", "both"]

INPUT_NAME: Final = "images"
OUTPUT_NAME: Final = "output0"
VARIANTS: Final = 8
STRIDE_PX: Final = 8

_OPSET = 17
_IR_VERSION = 9
_WINDOW_PX = 32
_MARGIN_PX = (_WINDOW_PX - STRIDE_PX) // 2
_AROUND_CELLS = 5
# Darkness, and warm brightness: channels in another order find no spots.
_COLOUR = np.array([[-0.3, -0.5, -0.2], [0.9, 0.3, -0.2]], np.float32)
_CONTRAST_MIN = 0.10
_CONTRAST_FULL = 0.16
_MASS_MIN_PX = 24.0
_MASS_FULL_PX = 48.0
_CENTRE_FULL_PX2 = 36.0
_CENTRE_MAX_PX2 = 64.0
_SCORE_BASE = 0.5
_SCORE_PER_CONTRAST = 1.2
_SCORE_MAX = 0.97
_SIZE_STEP = 0.01
_SPREAD = 4.1
_SCORE_STEP = 0.006


@dataclass(frozen=True, slots=True)
class TinyNetwork:
    """Which of the small detectors.

    Attributes:
        kind: `dark` finds pits, `bright` spots, `both` the two; the rest scores 0.
        variant: 0 to 7: each answers every object with a box 1 % larger and a score 0.6 %
            lower than the one before: right, and told apart on every frame.
        side_px: Side of the square input, a multiple of 8.
        free_batch: Whether the file takes any number of frames.
    """

    kind: Kind = "both"
    variant: int = 0
    side_px: int = 160
    free_batch: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.variant < VARIANTS:
            raise ValueError(f"variant: expected 0 to {VARIANTS - 1}, found {self.variant}")
        if self.side_px % STRIDE_PX or self.side_px < _WINDOW_PX:
            raise ValueError(f"side_px: expected a multiple of 8 from 32, found {self.side_px}")

    @property
    def cells_a_side(self) -> int:
        """Cells in a row of the answer's grid."""
        return self.side_px // STRIDE_PX

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(1, 3, S, S)."""
        return (1, 3, self.side_px, self.side_px)

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(1, 6, N): cx cy w h and the scores of pit and spot; cells of pits, then of spots."""
        return (1, 6, 2 * self.cells_a_side**2)

    @property
    def batch_as_is(self) -> int:
        """The first size of a reshaped tensor: 1, or ONNX's word for that of its input."""
        return 0 if self.free_batch else 1

    @property
    def spread(self) -> float:
        """Full width of a box in standard deviations of the mask."""
        return _SPREAD * (1 + _SIZE_STEP * self.variant)

    @property
    def gains(self) -> NDArray[np.float32]:
        """(2,) factor of the score of pits and of spots."""
        finds = np.array([self.kind != "bright", self.kind != "dark"], np.float32)
        return finds * np.float32(1 - _SCORE_STEP * self.variant)


def reference_output(tensor: NDArray[np.float32], network: TinyNetwork) -> NDArray[np.float32]:
    """The detector in numpy: what the exported file must answer.

    Args:
        tensor: (1, 3, S, S) float32 RGB in 0..1.
        network: Which detector.

    Returns:
        (1, 6, N) float32, raw layout, boxes in input px.
    """
    cells = network.cells_a_side
    colour = np.einsum("kc,chw->khw", _COLOUR.astype(np.float64), tensor[0].astype(np.float64))
    blocks = colour.reshape(2, cells, STRIDE_PX, cells, STRIDE_PX).mean(axis=(2, 4))
    around = _mean_around(blocks, _AROUND_CELLS)
    contrast = _mean_around(colour, 3) - around.repeat(STRIDE_PX, 1).repeat(STRIDE_PX, 2)
    mask = np.clip((contrast - _CONTRAST_MIN) / (_CONTRAST_FULL - _CONTRAST_MIN), 0, 1)
    mass, across, down, across2, down2 = (
        np.einsum("kijyx,yx->kij", _windows(mask), kernel.astype(np.float64))
        for kernel in _moment_kernels()
    )
    weight = np.maximum(mass, 1.0)
    dx, dy = across / weight, down / weight
    width = network.spread * np.sqrt(np.maximum(across2 / weight - dx**2, 0))
    height = network.spread * np.sqrt(np.maximum(down2 / weight - dy**2, 0))
    depth = _windows(mask * contrast).sum(axis=(3, 4)) / weight
    score = np.clip(_SCORE_BASE + _SCORE_PER_CONTRAST * depth, 0, _SCORE_MAX)
    score *= np.clip((mass - _MASS_MIN_PX) / (_MASS_FULL_PX - _MASS_MIN_PX), 0, 1)
    off_centre = (_CENTRE_MAX_PX2 - dx**2 - dy**2) / (_CENTRE_MAX_PX2 - _CENTRE_FULL_PX2)
    score *= np.clip(off_centre, 0, 1) * network.gains[:, None, None]
    middle = (np.arange(cells) + 0.5) * STRIDE_PX
    boxes = np.stack([dx + middle[None, None, :], dy + middle[None, :, None], width, height])
    scores = np.zeros((2, *score.shape))
    scores[[0, 1], [0, 1]] = score
    rows = np.concatenate([boxes, scores]).reshape(1, 6, -1)
    return rows.astype(np.float32)


def build_graph(network: TinyNetwork) -> onnx.ModelProto:
    """The detector as an ONNX model: `images` (1, 3, S, S) to `output0` (1, 6, N)."""
    graph = _Graph()
    contrast = _add_contrast(graph, network)
    mask = graph.add(
        "Clip",
        graph.scaled(contrast, 1 / (_CONTRAST_FULL - _CONTRAST_MIN), -_CONTRAST_MIN),
        graph.number(0),
        graph.number(1),
    )
    boxes, mass, dx, dy, weight = _add_boxes(graph, network, mask)
    filled = graph.add("Mul", mask, contrast)
    # The mean over a window times its area is the sum.
    depth_sum = graph.scaled(_add_window_mean(graph, filled), float(_WINDOW_PX**2))
    depth = graph.add("Div", depth_sum, weight)
    score = _add_score(graph, network, mass=mass, dx=dx, dy=dy, depth=depth)
    rows = graph.add("Concat", boxes, score, axis=1)
    graph.add("Reshape", rows, graph.integers([network.batch_as_is, 6, -1]), output=OUTPUT_NAME)
    return graph.model(network)


class _Graph:
    """Nodes and constants as they are added; names count up, so a graph is deterministic."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: NDArray[Any]) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(value, name))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def integers(self, values: list[int]) -> str:
        return self.constant(np.array(values, np.int64))

    def scaled(self, name: str, factor: float, offset: float = 0.0) -> str:
        """(name + offset) * factor."""
        moved = self.add("Add", name, self.number(offset)) if offset else name
        return self.add("Mul", moved, self.number(factor))

    def model(self, network: TinyNetwork) -> onnx.ModelProto:
        graph = helper.make_graph(
            self._nodes,
            "tiny_detector",
            [_value(INPUT_NAME, network.input_shape, network)],
            [_value(OUTPUT_NAME, network.output_shape, network)],
            self._constants,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
            producer_name="sightloop.testing",
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def _value(name: str, shape: tuple[int, ...], network: TinyNetwork) -> onnx.ValueInfoProto:
    sizes: list[int | str] = ["frames" if network.free_batch else 1, *shape[1:]]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)


def _add_contrast(graph: _Graph, network: TinyNetwork) -> str:
    colour = graph.add("Conv", INPUT_NAME, graph.constant(_COLOUR[:, :, None, None]))
    smooth = _add_mean_around(graph, colour, 3)
    blocks = graph.add("AveragePool", colour, kernel_shape=[STRIDE_PX] * 2, strides=[STRIDE_PX] * 2)
    around = _add_mean_around(graph, blocks, _AROUND_CELLS)
    if network.free_batch:
        size = ["", graph.constant(np.array([1, 1, STRIDE_PX, STRIDE_PX], np.float32))]
    else:
        size = ["", "", graph.integers([1, 2, network.side_px, network.side_px])]
    spread = graph.add(
        "Resize",
        around,
        *size,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    return graph.add("Sub", smooth, spread)


def _add_boxes(graph: _Graph, network: TinyNetwork, mask: str) -> tuple[str, str, str, str, str]:
    """Boxes (1, 4, 2, cells, cells), and (1, 2, cells, cells) mass, dx, dy, mass of 1 or more."""
    kernels = np.tile(_moment_kernels()[:, None], (2, 1, 1, 1))
    moments = graph.add(
        "Conv",
        mask,
        graph.constant(kernels),
        group=2,
        strides=[STRIDE_PX] * 2,
        pads=[_MARGIN_PX] * 4,
    )
    cells = network.cells_a_side
    by_kind = graph.add(
        "Reshape", moments, graph.integers([network.batch_as_is, 2, 5, cells, cells])
    )
    mass, across, down, across2, down2 = (
        graph.add("Gather", by_kind, graph.constant(np.array(index, np.int64)), axis=2)
        for index in range(5)
    )
    weight = graph.add("Max", mass, graph.number(1))
    dx, dy = graph.add("Div", across, weight), graph.add("Div", down, weight)
    middle = (np.arange(cells, dtype=np.float32) + np.float32(0.5)) * np.float32(STRIDE_PX)
    parts = [
        graph.add("Add", dx, graph.constant(middle[None, None, None, :])),
        graph.add("Add", dy, graph.constant(middle[None, None, :, None])),
        _add_size(graph, network, square=across2, mean=dx, weight=weight),
        _add_size(graph, network, square=down2, mean=dy, weight=weight),
    ]
    axis = graph.integers([1])
    stacked = [graph.add("Unsqueeze", part, axis) for part in parts]
    return graph.add("Concat", *stacked, axis=1), mass, dx, dy, weight


def _add_size(graph: _Graph, network: TinyNetwork, *, square: str, mean: str, weight: str) -> str:
    second = graph.add("Div", square, weight)
    variance = graph.add("Sub", second, graph.add("Mul", mean, mean))
    root = graph.add("Sqrt", graph.add("Max", variance, graph.number(0)))
    return graph.scaled(root, network.spread)


def _add_score(
    graph: _Graph, network: TinyNetwork, *, mass: str, dx: str, dy: str, depth: str
) -> str:
    """Scores (1, 2, 2, cells, cells): of a class, in the cells of a kind."""
    zero, one = graph.number(0), graph.number(1)
    base = graph.add("Add", graph.scaled(depth, _SCORE_PER_CONTRAST), graph.number(_SCORE_BASE))
    score = graph.add("Clip", base, zero, graph.number(_SCORE_MAX))
    filled = graph.scaled(mass, 1 / (_MASS_FULL_PX - _MASS_MIN_PX), -_MASS_MIN_PX)
    distance = graph.add("Add", graph.add("Mul", dx, dx), graph.add("Mul", dy, dy))
    centred = graph.scaled(distance, -1 / (_CENTRE_MAX_PX2 - _CENTRE_FULL_PX2), -_CENTRE_MAX_PX2)
    for factor in (filled, centred):
        score = graph.add("Mul", score, graph.add("Clip", factor, zero, one))
    # (class, kind): the gain on the diagonal, nothing beside it.
    gains = np.diag(network.gains).astype(np.float32)[None, :, :, None, None]
    whole = graph.add("Unsqueeze", score, graph.integers([1]))
    return graph.add("Mul", whole, graph.constant(gains))


def _add_mean_around(graph: _Graph, name: str, size: int) -> str:
    return graph.add(
        "AveragePool", name, kernel_shape=[size] * 2, pads=[size // 2] * 4, count_include_pad=0
    )


def _add_window_mean(graph: _Graph, name: str) -> str:
    return graph.add(
        "AveragePool",
        name,
        kernel_shape=[_WINDOW_PX] * 2,
        strides=[STRIDE_PX] * 2,
        pads=[_MARGIN_PX] * 4,
        count_include_pad=1,
    )


def _moment_kernels() -> NDArray[np.float32]:
    """(5, 32, 32): 1, x, y, x², y² around the middle of a window, px."""
    offset = np.arange(_WINDOW_PX, dtype=np.float32) - np.float32((_WINDOW_PX - 1) / 2)
    across = np.broadcast_to(offset[None, :], (_WINDOW_PX, _WINDOW_PX))
    down = across.T
    return np.stack([np.ones_like(across), across, down, across**2, down**2])


def _mean_around(planes: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Mean of each pixel's square neighbourhood, of what lies inside the plane."""
    around = size // 2
    pads = ((0, 0), (around, around), (around, around))
    sums = sliding_window_view(np.pad(planes, pads), (size, size), (1, 2)).sum(axis=(3, 4))
    inside = np.pad(np.ones_like(planes), pads)
    counts = sliding_window_view(inside, (size, size), (1, 2)).sum(axis=(3, 4))
    mean: NDArray[np.float64] = sums / counts
    return mean


def _windows(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(kinds, cells, cells, 32, 32): each cell's window, 0 outside the plane."""
    margin = (_MARGIN_PX, _MARGIN_PX)
    padded = np.pad(planes, ((0, 0), margin, margin))
    views = sliding_window_view(padded, (_WINDOW_PX, _WINDOW_PX), (1, 2))
    return views[:, ::STRIDE_PX, ::STRIDE_PX]
