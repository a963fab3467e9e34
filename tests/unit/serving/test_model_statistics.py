from __future__ import annotations

from sightloop.serving.history import ReleaseId
from sightloop.serving.model_statistics import statistics_of
from sightloop.serving.tally import ReleaseCounts, Tally
from sightloop.serving.wire import StageTimes

TIMES = StageTimes(decode_us=1, preprocess_us=2, inference_us=4, postprocess_us=8)
RELEASE = ReleaseId("1.0.0", "aa")


def test_times_of_a_line_are_tritons_parts_in_nanoseconds() -> None:
    tally = Tally()
    for _ in range(2):
        tally.answered(RELEASE, TIMES, queue_s=5e-6, total_s=20e-6, wall_s=1.5)
    tally.failed(RELEASE, total_s=7e-9)
    found = statistics_of("plate", tally.of(RELEASE))
    stats = found["inference_stats"]
    assert (found["name"], found["version"]) == ("plate", "1.0.0")
    assert found["last_inference"] == 1500
    assert found["inference_count"] == found["execution_count"] == 2
    assert stats["success"] == {"count": 2, "ns": 40_000}
    assert stats["fail"] == {"count": 1, "ns": 7}
    assert stats["compute_input"]["ns"] == 6_000
    assert stats["compute_infer"]["ns"] == 8_000
    assert stats["compute_output"]["ns"] == 16_000
    assert stats["queue"]["ns"] == 10_000
    assert found["batch_stats"][0]["batch_size"] == 1


def test_release_without_requests_has_zeros() -> None:
    found = statistics_of("plate", ReleaseCounts(RELEASE))
    assert found["inference_stats"]["success"] == {"count": 0, "ns": 0}
    assert found["batch_stats"] == []
