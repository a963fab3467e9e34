"""Candidates that must be refused, made out of good ones: surgery on ONNX files.

Each function takes a model file with one float input (1, 3, S, S) and writes another that loads,
keeps names and shapes, and is wrong in exactly one way. They work on tiny detectors and on
exports of Ultralytics alike. Refusing them is the gates' business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_PREFIX: Final = "sightloop_"
_CHANNELS = 3
_IDENTITY_KERNEL_PX = 3
_FOREVER: Final = 1 << 60


def shift_image(src: Path, dst: Path, *, dx_px: int, dy_px: int) -> None:
    """Move the input picture by whole pixels before the network sees it: so do all boxes.

    Args:
        src: A good model.
        dst: Where the bad one is written.
        dx_px: To the right; the edge's pixels are repeated behind it.
        dy_px: Down.
    """

    def insert(front: _Front) -> str:
        before = [0, 0, max(dy_px, 0), max(dx_px, 0)]
        after = [0, 0, max(-dy_px, 0), max(-dx_px, 0)]
        padded = front.add("Pad", front.input, front.integers(before + after), mode="edge")
        starts = [after[2], after[3]]
        ends = [after[2] + front.side_px, after[3] + front.side_px]
        return front.add(
            "Slice",
            padded,
            front.integers(starts),
            front.integers(ends),
            front.integers([2, 3]),
        )

    _put_in_front(src, dst, insert)


def slow_down(src: Path, dst: Path, *, layers: int, channels: int = 16) -> None:
    """Send the input through convolutions that change nothing: the same answers, later.

    Args:
        src: A good model.
        dst: Where the slow one is written.
        layers: 3x3 convolutions of `channels` to `channels`.
        channels: At least 3. A layer costs 9 * channels² multiplications a pixel.
    """

    def insert(front: _Front) -> str:
        name = front.input
        widths = [_CHANNELS, *[channels] * layers, _CHANNELS]
        for narrow, wide in pairwise(widths):
            kernel = front.constant(_identity_kernel(wide, narrow))
            name = front.add("Conv", name, kernel, pads=[_IDENTITY_KERNEL_PX // 2] * 4)
        return name

    _put_in_front(src, dst, insert)


def wrong_answers(src: Path, dst: Path, *, seed: int) -> None:
    """Shuffle the weights of every convolution: it loads, runs, stays finite, and is wrong.

    Args:
        src: A good model.
        dst: Where the wrong one is written.
        seed: Which shuffle.
    """
    model = onnx.load(src)
    rng = np.random.default_rng(seed)
    kernels = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    for weights in _constants_of(model.graph):
        if weights.name in kernels:
            value = numpy_helper.to_array(weights)
            shuffled = rng.permutation(value.reshape(-1)).reshape(value.shape)
            weights.CopyFrom(numpy_helper.from_array(shuffled, weights.name))
    _save(model, dst)


def heavy(src: Path, dst: Path, *, mebibytes: int) -> None:
    """Add a constant of this size that stays in memory; the answers stay the same.

    Which of its values is read depends on the input, so nothing can be folded away.

    Args:
        src: A good model.
        dst: Where the heavy one is written.
        mebibytes: Size of the constant.
    """

    def insert(front: _Front) -> str:
        ballast = np.arange(mebibytes << 18, dtype=np.float32)
        pixels = front.add("Flatten", front.input, axis=1)
        first = front.add("Gather", pixels, front.integers([0]), axis=1)
        zero = front.add("Mul", first, front.constant(np.zeros(1, np.float32)))
        index = front.add("Cast", zero, to=onnx.TensorProto.INT64)
        value = front.add("Gather", front.constant(ballast), index, axis=0)
        # The value read is element 0, which is 0: adding it changes no bit of an image.
        return front.add("Add", front.input, value)

    _put_in_front(src, dst, insert)


def eat_memory(src: Path, dst: Path, *, mebibytes: int) -> None:
    """Make and read through this much memory at every run; the answers stay the same.

    Args:
        src: A good model.
        dst: Where the greedy one is written.
        mebibytes: Taken at every run, nothing at load.
    """

    def insert(front: _Front) -> str:
        values = front.constant(np.array([mebibytes << 18], np.int64))
        shape = front.add("Add", values, front.zero_of_input(onnx.TensorProto.INT64))
        block = front.add("ConstantOfShape", shape)
        # Written and read: pages that nobody touches are not there.
        filled = front.add("Add", block, front.zero_of_input(onnx.TensorProto.FLOAT))
        total = front.add("ReduceSum", filled, keepdims=0)
        return front.add("Add", front.input, total)

    _put_in_front(src, dst, insert)


def hang(src: Path, dst: Path, *, on_pictures: bool = False) -> None:
    """Never come back from a run.

    Args:
        src: A good model.
        dst: Where the hanging one is written.
        on_pictures: Only on inputs that are not all of one colour: it warms up and then hangs.
    """

    def insert(front: _Front) -> str:
        turns = front.constant(np.array(_FOREVER if not on_pictures else 0, np.int64))
        if on_pictures:
            darkest = front.add("ReduceMin", front.input, keepdims=0)
            brightest = front.add("ReduceMax", front.input, keepdims=0)
            varied = front.add("Greater", brightest, darkest)
            number = front.add("Cast", varied, to=onnx.TensorProto.INT64)
            turns = front.add("Mul", number, front.constant(np.array(_FOREVER, np.int64)))
        body = helper.make_graph(
            [
                helper.make_node("Identity", ["more"], ["more_out"]),
                helper.make_node("Mul", ["value", "value"], ["value_out"]),
            ],
            "forever",
            [
                helper.make_tensor_value_info("turn", onnx.TensorProto.INT64, []),
                helper.make_tensor_value_info("more", onnx.TensorProto.BOOL, []),
                helper.make_tensor_value_info("value", onnx.TensorProto.FLOAT, [1]),
            ],
            [
                helper.make_tensor_value_info("more_out", onnx.TensorProto.BOOL, []),
                helper.make_tensor_value_info("value_out", onnx.TensorProto.FLOAT, [1]),
            ],
        )
        start = front.zero_of_input(onnx.TensorProto.FLOAT)
        yes = front.constant(np.array(True))
        ended = front.add("Loop", turns, yes, start, body=body)
        return front.add("Add", front.input, ended)

    _put_in_front(src, dst, insert)


class _Front:
    """Nodes to stand before a graph's first one, behind its input."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        constants = {constant.name for constant in graph.initializer}
        value = next(value for value in graph.input if value.name not in constants)
        self.input: str = value.name
        self.side_px = int(value.type.tensor_type.shape.dim[3].dim_value)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{_PREFIX}{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: NDArray[Any]) -> str:
        name = f"{_PREFIX}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def zero_of_input(self, kind: int) -> str:
        """(1,) 0 that only the input tells: nothing that depends on it can be folded away."""
        pixels = self.add("Flatten", self.input, axis=0)
        first = self.add("Gather", pixels, self.integers([0]), axis=1)
        flat = self.add("Reshape", first, self.integers([1]))
        zero = self.add("Mul", flat, self.constant(np.zeros(1, np.float32)))
        return self.add("Cast", zero, to=kind)

    def integers(self, values: list[int]) -> str:
        return self.constant(np.array(values, np.int64))


def _put_in_front(src: Path, dst: Path, insert: Callable[[_Front], str]) -> None:
    """Write `src` with nodes between its input and everything that reads the input."""
    model = onnx.load(src)
    front = _Front(model.graph)
    output = insert(front)
    _rename_reads(model.graph, front.input, output)
    for offset, node in enumerate(front.nodes):
        model.graph.node.insert(offset, node)
    model.graph.initializer.extend(front.constants)
    _save(model, dst)


def _rename_reads(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new
        for inner in _inner_graphs(node):
            _rename_reads(inner, old, new)


def _inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _constants_of(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """A graph's weights, whether they stand as initializers or as Constant nodes' values."""
    yield from graph.initializer
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = node.attribute[0].t
            tensor.name = node.output[0]
            yield tensor


def _identity_kernel(wide: int, narrow: int) -> NDArray[np.float32]:
    """(wide, narrow, 3, 3): the first three channels pass unchanged, the others hold 0."""
    kernel = np.zeros((wide, narrow, _IDENTITY_KERNEL_PX, _IDENTITY_KERNEL_PX), np.float32)
    middle = _IDENTITY_KERNEL_PX // 2
    for channel in range(_CHANNELS):
        kernel[channel, channel, middle, middle] = 1
    return kernel


def _save(model: onnx.ModelProto, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
