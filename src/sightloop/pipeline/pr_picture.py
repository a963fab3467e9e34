"""The precision-recall picture of an evaluation, for people; nothing reads it back."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

from sightloop._support.files import write_bytes_atomic
from sightloop.vision.average_precision import ApReport

_LEGEND_MAX = 12


def draw_pr_curves(path: Path, report: ApReport, classes: tuple[str, ...]) -> bool:
    """Draw one curve a class (IoU 0.5) as PNG.

    Returns:
        False where matplotlib is not installed; nothing is written then.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, curve, ap50 in zip(classes, report.curves, report.ap50, strict=True):
        if curve is not None:
            axes.plot(curve.recall, curve.precision, label=f"{name} {ap50:.3f}")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    known = "unknown" if report.map50 is None else f"{report.map50:.3f}"
    axes.set_title(f"Precision and recall at IoU 0.5, mAP50 {known}")
    axes.grid(visible=True, alpha=0.3)
    if 0 < sum(curve is not None for curve in report.curves) <= _LEGEND_MAX:
        axes.legend(loc="lower left", fontsize="small")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    write_bytes_atomic(path, stream.getvalue())
    return True
