from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np

from sightloop._support.clock import SystemClock
from sightloop.demo.outcome import Outcome, ReleaseFacts
from sightloop.demo.quality import Quality, TestImage
from sightloop.demo.report import Evidence, choose_samples, render_report
from sightloop.demo.timeline import Act, Refusal, Timeline
from sightloop.testing.camera import FrameRecord
from sightloop.testing.checker import CheckResult, Switch
from sightloop.testing.figures import UpdateFigures
from sightloop.vision.average_precision import evaluate
from sightloop.vision.decode import encode_jpeg
from sightloop.vision.detections import Detections, Labels

CLASSES = ("scratch", "pit")
LABELS = Labels(np.array([[10, 10, 40, 40]], np.float32), np.array([0]))
FOUND = Detections(LABELS.boxes, np.array([0.9], np.float32), LABELS.classes)
REFUSAL = Refusal(
    candidate="<b>shifted</b>",
    story="moved",
    gate="latency",
    reason="too_slow",
    message="2 < 3 & so on",
    measurements={"offset_x_px": 2.0},
    expected_gate="behaviour",
    expected_reasons=frozenset({"systematic_offset"}),
    champion_kept=True,
    order_s=101.0,
    seconds=0.5,
)
OUTCOME = Outcome(
    quick=False,
    releases=(
        ReleaseFacts("1.0.0", "a" * 64, 0.881, 0.05, {}, 50.0),
        ReleaseFacts("1.1.0", "b" * 64, 0.972, 0.80, {}, 30.0),
    ),
    check=CheckResult(sent=30, answered=30, checked=30, lost=0, mixed=0, stale=0, faults=()),
    figures=UpdateFigures(8.0, 10.0, 8.0, 12.0, 5.0, 50, 50),
    training_p99_ms=14.0,
    rollbacks_ms=(3.0, 4.0),
    updates=1,
    refusals=(REFUSAL,),
    duration_s=280.0,
)


class SilentScreen:
    def act(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...

    def progress(self, done: int, total: int) -> None: ...


class Links(HTMLParser):
    """Collects what a browser would load."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]


def _image(count: int, *, new: bool = False) -> TestImage:
    labels = Labels(np.zeros((count, 4), np.float32), np.zeros(count, np.int64))
    return TestImage("x", b"", labels, (0,) if new else ())


def _record(number: int, digest: str) -> FrameRecord:
    due_s = 100 + number / 10
    body = {"release": {"digest": digest}}
    return FrameRecord(number, 0, due_s, due_s, due_s + 0.01, 200, body)


def _evidence() -> Evidence:
    timeline = Timeline(SystemClock(), SilentScreen())
    timeline.acts.append(Act("updates", "updates", 101.0, 102.5))
    switch = Switch(order_s=101.5, ack_s=102.0, digest="b" * 64)
    timeline.updates.append(switch)
    timeline.switches.append(switch)
    frame = np.full((64, 64, 3), 120, np.uint8)
    report = evaluate([LABELS], [FOUND], len(CLASSES))
    quality = Quality(report=report, new_scratch=report, found=(FOUND,))
    return Evidence(
        timeline=timeline,
        records=[_record(n, ("a" if n < 20 else "b") * 64) for n in range(30)],
        images=[TestImage("x.jpg", encode_jpeg(frame), LABELS, (0,))],
        classes=CLASSES,
        qualities=(quality, quality),
        commands=(("Runs:", "mlflow ui --backend-store-uri sqlite:///x"),),
    )


def test_the_page_loads_nothing_and_runs_no_script() -> None:
    links = Links()
    links.feed(render_report(OUTCOME, _evidence()))
    assert all(one.startswith("data:image/jpeg;base64,") for one in links.loaded)
    assert links.loaded
    assert not {"script", "link", "iframe", "img"} & set(links.tags)


def test_no_hole_of_the_template_is_left_open() -> None:
    assert "${" not in render_report(OUTCOME, _evidence())


def test_what_others_wrote_is_escaped() -> None:
    page = render_report(OUTCOME, _evidence())
    assert "<b>shifted</b>" not in page
    assert "2 &lt; 3 &amp; so on" in page


def test_an_unexpected_gate_is_shown_with_the_one_that_was_meant() -> None:
    page = render_report(OUTCOME, _evidence())
    assert "expected behaviour (systematic_offset)" in page
    right = replace(REFUSAL, gate="behaviour", reason="systematic_offset")
    page = render_report(replace(OUTCOME, refusals=(right,) * 6), _evidence())
    assert "expected behaviour (systematic_offset)" not in page
    assert "every promise kept" in page


def test_every_frame_and_the_figures_are_on_the_page() -> None:
    page = render_report(OUTCOME, _evidence())
    whole = page[: page.index("close up")]
    assert len(re.findall(r"M[\d.]+ [\d.]+h0", whole)) == 30
    for text in ("0 · 0 · 0", "12.0 ms", "4.0 ms", "0.88 → 0.97", "0.05 → 0.80", "mlflow ui"):
        assert text in page


def test_samples_are_chosen_by_their_labels_half_of_them_with_a_new_scratch() -> None:
    images = [_image(1), _image(5), _image(2, new=True), _image(4, new=True), _image(3, new=True)]
    assert choose_samples(images) == [3, 4, 1, 0]
    assert choose_samples([_image(1), _image(2)]) == [1, 0]
