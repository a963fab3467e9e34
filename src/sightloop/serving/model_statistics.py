"""Triton's statistics of inference requests, made of what a line has counted. Pure."""

from __future__ import annotations

from typing import Any

from sightloop.serving.tally import ReleaseCounts


def statistics_of(line: str, counts: ReleaseCounts) -> dict[str, Any]:
    """One entry of `model_stats`: decoding counts as input, times are nanoseconds."""
    answers = counts.answers
    stages = {
        "compute_input": _duration(answers, counts.decode_s + counts.preprocess_s),
        "compute_infer": _duration(answers, counts.inference_s),
        "compute_output": _duration(answers, counts.postprocess_s),
    }
    return {
        "name": line,
        "version": counts.release.semver,
        "last_inference": int(counts.last_answer_wall_s * 1000),
        "inference_count": answers,
        "execution_count": round(counts.runs),
        "inference_stats": {
            "success": _duration(answers, counts.total_s),
            "fail": _duration(counts.failures, counts.failed_s),
            "queue": _duration(answers, counts.queue_s),
            **stages,
            "cache_hit": _duration(0, 0.0),
            "cache_miss": _duration(0, 0.0),
        },
        "response_stats": {},
        "batch_stats": [{"batch_size": 1, **stages}] if answers else [],
        "memory_usage": [],
    }


def _duration(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * 1e9)}
