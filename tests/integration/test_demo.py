from __future__ import annotations

import json
import subprocess
from pathlib import Path

from sightloop.testing.server_process import CLI

LIMIT_S = 240
"""Far above the promised minute: this test asks for truth, not for speed."""


def test_the_quick_demo_keeps_every_promise_and_reports_them(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*CLI, "demo", "--quick", "--out", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = json.loads((tmp_path / "demo" / "report.json").read_bytes())
    assert report["frames_checked"] == report["frames_answered"] == report["frames_sent"] > 300
    assert report["frames_lost"] == report["frames_mixed"] == report["frames_stale_after_ack"] == 0
    assert [(one["gate"], one["as_expected"]) for one in report["refused"]] == [
        ("integrity", True),
        ("integrity", True),
        ("behaviour", True),
        ("behaviour", True),
        ("latency", True),
        ("load", True),
    ]
    assert (tmp_path / "demo" / "report.html").stat().st_size > 100_000
