from __future__ import annotations

from sightloop.serving.model_statistics import ModelStatistics
from sightloop.serving.wire import StageTimes

TIMES = StageTimes(decode_us=1, preprocess_us=2, inference_us=4, postprocess_us=8)


def test_what_the_parts_leave_over_is_the_queue() -> None:
    counts = ModelStatistics()
    for _ in range(2):
        counts.count_success("plate", "aa", total_ns=20_000, times=TIMES, wall_s=1.5)
    counts.count_failure("plate", "aa", total_ns=7)
    found = counts.as_dict("plate", "1.0.0", "aa")
    stats = found["inference_stats"]
    assert found["last_inference"] == 1500
    assert found["inference_count"] == found["execution_count"] == 2
    assert stats["success"] == {"count": 2, "ns": 40_000}
    assert stats["fail"] == {"count": 1, "ns": 7}
    assert stats["compute_input"]["ns"] == 6_000
    assert stats["compute_infer"]["ns"] == 8_000
    assert stats["compute_output"]["ns"] == 16_000
    assert stats["queue"]["ns"] == 10_000
    assert found["batch_stats"][0]["batch_size"] == 1


def test_releases_are_counted_apart_and_those_that_are_gone_are_forgotten() -> None:
    counts = ModelStatistics()
    for digest in ("aa", "bb"):
        counts.count_success("plate", digest, total_ns=1, times=TIMES, wall_s=0)
    counts.count_success("bolt", "aa", total_ns=1, times=TIMES, wall_s=0)
    counts.keep("plate", {"bb"})
    assert counts.as_dict("plate", "1.0.0", "aa")["inference_count"] == 0
    assert counts.as_dict("plate", "1.1.0", "bb")["inference_count"] == 1
    assert counts.as_dict("bolt", "1.0.0", "aa")["inference_count"] == 1


def test_release_without_requests_has_zeros() -> None:
    found = ModelStatistics().as_dict("plate", "1.0.0", "aa")
    assert found["inference_stats"]["success"] == {"count": 0, "ns": 0}
    assert found["batch_stats"] == []
