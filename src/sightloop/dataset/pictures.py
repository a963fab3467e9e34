"""Suspicious labels as pictures: one HTML page that needs no other file.

Each box is cut out of its image with some of its surroundings; the frame around it is drawn by the
page, so that the pixels stay as they are. The oddest of each kind come first.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sightloop.dataset.checks import CheckReport
from sightloop.dataset.suspicious import SuspiciousBox
from sightloop.errors import ImageError
from sightloop.vision.decode import decode_image, encode_jpeg

PICTURES_MAX = 24
"""Pictures of each kind."""
FINDINGS_MAX = 200
"""Findings written out; all of them are in the JSON report."""
_SURROUNDINGS = 1.5
_SIDE_MIN_PX = 48
_SIDE_MAX_PX = 480
_SHOWN_PX = 260
_TITLES = {
    "box_tiny": "Boxes of a few pixels",
    "box_aspect": "Boxes far longer than wide",
    "box_two_classes": "Two classes on one place",
    "box_size_unusual": "Boxes far off the usual size of their class",
}
_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1180px;color:#222;padding:0 1em}
.sheet{display:flex;flex-wrap:wrap;gap:14px}
figure{margin:0;width:260px}
figcaption{font-size:13px;overflow-wrap:anywhere}
.cut{position:relative;width:260px;background:#eee}
.cut img{display:block;width:100%;image-rendering:pixelated}
.cut i{position:absolute;outline:2px solid #f0256a;outline-offset:0}
table{border-collapse:collapse}td,th{padding:2px 12px 2px 0;text-align:left}
td.n{text-align:right}.fatal{color:#b00020;font-weight:600}
"""


def render_page(report: CheckReport, source: str, changes: Sequence[tuple[str, str, str]]) -> str:
    """The report as a page for people.

    Args:
        report: What the check found.
        source: Where the dataset lies, for the title.
        changes: Rows (what, parent's count, count here); empty where there is no parent.
    """
    verdict = "passes" if not report.fatal else f"{len(report.fatal)} fault(s) that end a run"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Dataset check</title>",
        f"<style>{_STYLE}</style><h1>Dataset check: {html.escape(verdict)}</h1>",
        f"<p>{html.escape(source)}</p>",
        *_findings(report),
        *_changes(changes),
        *_pictures(report.suspicious),
    ]
    return "\n".join(parts) + "\n"


def _findings(report: CheckReport) -> Iterator[str]:
    yield f"<h2>{len(report.findings)} finding(s)</h2><table>"
    for finding in report.findings[:FINDINGS_MAX]:
        word = "<td class=fatal>fatal" if finding.fatal else "<td>warning"
        kind, message = html.escape(finding.kind), html.escape(finding.message)
        yield f"<tr>{word}<td>{kind}<td>{message}"
    yield "</table>"
    if len(report.findings) > FINDINGS_MAX:
        yield f"<p>and {len(report.findings) - FINDINGS_MAX} more in check.json</p>"


def _changes(changes: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    if not changes:
        return
    yield "<h2>Against the parent's dataset</h2><table><tr><th><th>parent<th>here"
    for what, parent, here in changes:
        yield f"<tr><td>{html.escape(what)}<td class=n>{parent}<td class=n>{here}"
    yield "</table>"


def _pictures(suspicious: Sequence[SuspiciousBox]) -> Iterator[str]:
    for kind, title in _TITLES.items():
        boxes = [box for box in suspicious if box.kind == kind]
        if not boxes:
            continue
        shown = f", the oddest {PICTURES_MAX}" if len(boxes) > PICTURES_MAX else ""
        yield f"<h2>{title} ({len(boxes)}{shown})</h2><div class=sheet>"
        for box in boxes[:PICTURES_MAX]:
            yield _figure(box)
        yield "</div>"


def _figure(box: SuspiciousBox) -> str:
    name = html.escape(f"{box.seen.item.split}: {box.seen.item.name}, box {box.index + 1}")
    caption = f"<figcaption><b>{name}</b><br>{html.escape(box.message)}</figcaption>"
    try:
        frame = decode_image(box.seen.item.image.read_bytes())
    except (OSError, ImageError) as error:
        # The image has gone since it was read: the words are shown without it.
        return f"<figure>{caption}<p>{html.escape(str(error))}</p></figure>"
    edges = box.seen.boxes[box.index]
    left, top, right, bottom = cut_out(edges, width_px=frame.shape[1], height_px=frame.shape[0])
    cut = frame[top:bottom, left:right]
    step = max(1, -(-max(cut.shape[:2]) // _SIDE_MAX_PX))
    data = base64.b64encode(encode_jpeg(np.ascontiguousarray(cut[::step, ::step]))).decode()
    x1, y1, x2, y2 = edges * np.array(
        [frame.shape[1], frame.shape[0], frame.shape[1], frame.shape[0]]
    )
    wide, high = (right - left) / 100, (bottom - top) / 100
    place = (
        f"left:{(x1 - left) / wide:.2f}%;top:{(y1 - top) / high:.2f}%;"
        f"width:{(x2 - x1) / wide:.2f}%;height:{(y2 - y1) / high:.2f}%"
    )
    return (
        f'<figure><div class=cut><img alt="" src="data:image/jpeg;base64,{data}">'
        f'<i style="{place}"></i></div>{caption}</figure>'
    )


def cut_out(
    edges: NDArray[np.float64], *, width_px: int, height_px: int
) -> tuple[int, int, int, int]:
    """Where to cut a box with its surroundings out of an image.

    Args:
        edges: (4,) x1 y1 x2 y2 in fractions 0..1 of the image.
        width_px: Width of the image.
        height_px: Height of the image.

    Returns:
        left, top, right, bottom in pixels, inside the image, with an area.
    """
    x1, y1, x2, y2 = edges * np.array([width_px, height_px, width_px, height_px])
    reach = max(_SURROUNDINGS * max(x2 - x1, y2 - y1), _SIDE_MIN_PX) / 2 + 4
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    left, top = max(0, int(middle_x - reach)), max(0, int(middle_y - reach))
    right = min(width_px, int(middle_x + reach) + 1)
    bottom = min(height_px, int(middle_y + reach) + 1)
    return left, top, right, bottom
