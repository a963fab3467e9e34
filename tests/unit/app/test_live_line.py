import io
import math
import threading

import pytest

from sightloop.app import live_line
from sightloop.app.live_line import LineCounts, LiveLine, live_text, p99_ms, read_counts
from sightloop.telemetry.metrics import ServingMetrics


def counts(**changes: object) -> LineCounts:
    values: dict[str, object] = {
        "answered": 1200,
        "refused": 3,
        "lost": 0,
        "buckets": ((0.01, 90), (0.02, 100), (math.inf, 100)),
        "semver": "1.1.0",
        "degraded": False,
    }
    return LineCounts(**{**values, **changes})  # type: ignore[arg-type]  # fields by name


def test_counts_are_told_apart_by_line_and_outcome() -> None:
    metrics = ServingMetrics()
    for outcome, times in {"ok": 5, "overloaded": 2, "worker_died": 1}.items():
        metrics.requests.labels("plate", outcome).inc(times)
    metrics.requests.labels("weld", "ok").inc()
    metrics.latency.labels("plate").observe(0.003)
    metrics.set_roles("plate", {"champion": ("1.1.0", "ab"), "previous": ("1.0.0", "cd")})
    metrics.degraded.labels("plate").set(1)
    found = read_counts(metrics)
    assert list(found) == ["plate", "weld"]
    plate = found["plate"]
    assert (plate.answered, plate.refused, plate.lost) == (5, 2, 1)
    assert (plate.semver, plate.degraded) == ("1.1.0", True)
    assert dict(plate.buckets)[0.002] == 0
    assert dict(plate.buckets)[0.003] == dict(plate.buckets)[math.inf] == 1
    assert (found["weld"].semver, found["weld"].degraded) == ("", False)


def test_line_without_a_request_is_shown_with_its_release() -> None:
    metrics = ServingMetrics()
    metrics.set_roles("plate", {"champion": ("1.0.0", "ab")})
    assert read_counts(metrics)["plate"].semver == "1.0.0"


def test_p99_lies_within_its_bucket() -> None:
    assert p99_ms(None, counts()) == pytest.approx(19.0)


def test_p99_counts_only_what_came_since() -> None:
    before = counts(buckets=((0.01, 0), (0.02, 100), (math.inf, 100)))
    now = counts(buckets=((0.01, 50), (0.02, 150), (math.inf, 150)))
    assert p99_ms(before, now) == pytest.approx(9.9)


def test_p99_above_the_last_bound_is_not_made_up() -> None:
    assert p99_ms(None, counts(buckets=((0.01, 1), (math.inf, 100)))) == math.inf


def test_p99_of_nothing_is_none() -> None:
    assert p99_ms(counts(), counts()) is None
    assert p99_ms(None, counts(buckets=())) is None


def test_text_says_release_frames_refusals_losses_and_time() -> None:
    text = live_text({}, {"plate": counts(degraded=True)}, columns=200)
    assert text == "plate 1.1.0 DEGRADED  1,200 answered  3 refused  0 lost  p99 19 ms"


def test_text_never_wraps() -> None:
    text = live_text({}, {"plate": counts(), "weld": counts()}, columns=40)
    assert len(text) < 40
    assert text.endswith("…")


def test_each_drawing_takes_the_place_of_the_last() -> None:
    metrics = ServingMetrics()
    stream = io.StringIO()
    line = LiveLine(metrics, stream, columns=lambda: 100)
    line.draw()
    metrics.requests.labels("plate", "ok").inc(7)
    line.draw()
    drawn = stream.getvalue().split("\r\x1b[2K")
    assert drawn[1] == "no requests yet"
    assert "7 answered" in drawn[2]
    assert "\n" not in stream.getvalue()


def test_window_of_p99_is_the_last_minute() -> None:
    metrics = ServingMetrics()
    stream = io.StringIO()
    line = LiveLine(metrics, stream, columns=lambda: 100)
    metrics.requests.labels("plate", "ok").inc()
    metrics.latency.labels("plate").observe(0.9)
    for _ in range(61):
        line.draw()
    assert stream.getvalue().rpartition("\r")[2].endswith("p99 -")


def test_thread_draws_by_itself_and_ends_with_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_line, "_PERIOD_S", 0.01)
    drawn = threading.Event()

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            drawn.set()
            return super().write(text)

    stream = Stream()
    with LiveLine(ServingMetrics(), stream, columns=lambda: 80):
        assert drawn.wait(10)
    assert stream.getvalue().endswith("\n")
    assert "live-line" not in [thread.name for thread in threading.enumerate()]


def test_terminal_that_is_gone_ends_the_line_and_nothing_else() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    with LiveLine(ServingMetrics(), Gone(), columns=lambda: 80) as line:
        line.draw()
