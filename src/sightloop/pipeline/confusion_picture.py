"""The confusion matrix of an evaluation as a picture, for people; nothing reads it back."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import Final

from sightloop._support.files import write_bytes_atomic
from sightloop.vision.confusion import Confusion

BACKGROUND: Final = "background"
NOTHING: Final = "not found"
_TEXT_TURNS: Final = 0.6
"""From this share of a row on a cell is so dark that its number is white."""


def draw_confusion(path: Path, confusion: Confusion, *, score: float, iou: float) -> bool:
    """Draw the matrix as PNG: a count a cell, its shade the share of the row.

    Returns:
        False where matplotlib is not installed; nothing is written then.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    side = len(confusion.names) + 1
    inches = max(4.8, 0.62 * side + 2.2)
    figure = Figure(figsize=(inches, inches), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shares = confusion.row_shares()
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    axes.set_xticks(range(side), [*confusion.names, NOTHING], rotation=45, ha="right")
    axes.set_yticks(range(side), [*confusion.names, BACKGROUND])
    axes.set(xlabel="found", ylabel="marked by people")
    axes.set_title(f"Score above {score:g}, IoU {iou:g}")
    for row in range(side):
        for column in range(side):
            if count := int(confusion.counts[row, column]):
                ink = "white" if shares[row, column] > _TEXT_TURNS else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=ink)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    write_bytes_atomic(path, stream.getvalue())
    return True
