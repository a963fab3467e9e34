"""How good a network is on labelled images: the file that would serve, through what would serve it.

`runtime/` runs the network and `vision/` prepares, reads and scores: exactly the code of the
server, so a figure here is a figure there. Any subset of a dataset's items can be judged; the
trainer's own measure is never mixed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightloop.dataset.labels import read_item_labels
from sightloop.dataset.version import Item
from sightloop.errors import DatasetError
from sightloop.gates.latency import SYSTEM_STOPWATCH
from sightloop.pipeline.exported_model import ModelContractFile
from sightloop.runtime.backend import Backend
from sightloop.runtime.loaded_release import postprocess_frame
from sightloop.vision.average_precision import ApReport, evaluate
from sightloop.vision.decode import decode_image
from sightloop.vision.detections import Detections, Labels
from sightloop.vision.preprocess import Placement, prepare
from sightloop.vision.slices import FrameFacts, mean_luma

SCORE_MIN = 0.001
"""Average precision needs the whole curve: detections count from this score on."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledFrame:
    """An item, read.

    Attributes:
        item: Which one.
        data: The image file's bytes.
        frame: (H, W, 3) uint8 RGB.
        labels: What people marked, frame px.
    """

    item: Item
    data: bytes
    frame: NDArray[np.uint8]
    labels: Labels

    @property
    def width_px(self) -> int:
        """Width of the frame."""
        return int(self.frame.shape[1])

    @property
    def height_px(self) -> int:
        """Height of the frame."""
        return int(self.frame.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """A network's figures on some items.

    Attributes:
        report: Average precision, by class too.
        items: What was judged.
        labels: What people marked, by item.
        found: What the network found from `SCORE_MIN` on, frame px, by item.
        cpu_ms: CPU time of this thread for fitting, running and reading, by item.
        facts: What slices ask of a frame, by item.
    """

    report: ApReport
    items: tuple[Item, ...]
    labels: tuple[Labels, ...]
    found: tuple[Detections, ...]
    cpu_ms: tuple[float, ...]
    facts: tuple[FrameFacts, ...]


def read_frame(item: Item, *, class_count: int) -> LabelledFrame:
    """Decode an item's image and read its labels.

    Raises:
        ImageError: The image does not decode.
        DatasetError: The labels are missing or wrong.
    """
    data = item.image.read_bytes()
    frame = decode_image(data)
    labels = read_item_labels(
        item, width_px=frame.shape[1], height_px=frame.shape[0], class_count=class_count
    )
    return LabelledFrame(item=item, data=data, frame=frame, labels=labels)


def evaluate_items(
    backend: Backend,
    contract: ModelContractFile,
    items: Sequence[Item],
    *,
    score_min: float = SCORE_MIN,
    progress: Callable[[float, str], None] | None = None,
    cpu_ns: Callable[[], int] = SYSTEM_STOPWATCH.cpu_ns,
) -> Evaluation:
    """Run a network over items and score it.

    Args:
        backend: The loaded network.
        contract: How it is fed and read.
        items: What to judge; none is an error, not a zero.
        score_min: Detections score above this.
        progress: Called with the done fraction and a short text.
        cpu_ns: CPU time of the calling thread, in nanoseconds.

    Raises:
        DatasetError: No items, or unreadable labels.
        BackendError: The network failed or gave no finite numbers.
    """
    if not items:
        raise DatasetError(
            "evaluation: expected at least one labelled image, found none; "
            "the split to judge on is empty",
            reason="split_empty",
        )
    labels: list[Labels] = []
    found: list[Detections] = []
    times: list[float] = []
    facts: list[FrameFacts] = []
    for number, item in enumerate(items, start=1):
        read = read_frame(item, class_count=len(contract.classes))
        started = cpu_ns()
        tensor, placement = prepare_for(contract, read.frame)
        raw = backend.run(tensor)
        found.append(
            read_output(raw, contract, read, placement=placement, score_threshold=score_min)
        )
        times.append((cpu_ns() - started) / 1e6)
        labels.append(read.labels)
        facts.append(FrameFacts(read.width_px, read.height_px, mean_luma(read.frame)))
        if progress is not None:
            progress(number / len(items), f"image {number}/{len(items)}")
    return Evaluation(
        report=evaluate(labels, found, class_count=len(contract.classes)),
        items=tuple(items),
        labels=tuple(labels),
        found=tuple(found),
        cpu_ms=tuple(times),
        facts=tuple(facts),
    )


def prepare_for(
    contract: ModelContractFile, frame: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], Placement]:
    """Fit a frame, (H, W, 3) uint8 RGB, into the network's input: (1, 3, S, S) float32."""
    return prepare(frame, side_px=contract.preprocess.side_px, pad=contract.preprocess.pad)


def read_output(
    raw: NDArray[np.float32],
    contract: ModelContractFile,
    read: LabelledFrame,
    *,
    placement: Placement,
    score_threshold: float,
) -> Detections:
    """Read a raw output, from whatever ran the network, as detections in frame px."""
    return postprocess_frame(
        raw,
        contract.output,
        score_threshold=score_threshold,
        placement=placement,
        width_px=read.width_px,
        height_px=read.height_px,
    )
