"""docs/howto-embedded.md: its snippets run as they stand, on a folder and on a video file."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import pytest

from sightloop.testing.markdown import fences_of
from sightloop.testing.tiny_traffic import Traffic, tiny_traffic

PAGE = (Path(__file__).resolve().parents[2] / "docs/howto-embedded.md").read_text()
LOOP, ORDERS = (fence for fence in fences_of(PAGE) if "Detector(" in fence)
IMAGES = 4


@pytest.fixture
def traffic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Traffic:
    made = tiny_traffic(tmp_path, images=IMAGES)
    os.symlink(made.workspace.root, tmp_path / ".sightloop")
    monkeypatch.chdir(tmp_path)
    return made


def run(code: str) -> None:
    exec(compile(code, "howto-embedded.md", "exec"), {})


def test_inspection_loop_has_ten_lines() -> None:
    assert len([line for line in LOOP.splitlines() if line.strip()]) <= 10


def test_inspection_loop_runs_over_a_folder(
    traffic: Traffic, capsys: pytest.CaptureFixture[str]
) -> None:
    run(LOOP)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 2 * IMAGES, "every plate holds a pit and a spot"
    assert {line.split()[0] for line in lines} == {"1.0.0"}
    assert {line.split()[1] for line in lines} == {"pit", "spot"}


def test_inspection_loop_runs_over_a_video_file(
    traffic: Traffic, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "shift.avi"
    video = cv2.VideoWriter(name, cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (160, 160))
    for path in sorted(traffic.images.iterdir()):
        video.write(cv2.imread(str(path)))
    video.release()
    run(LOOP.replace("images/%03d.jpg", name))
    assert {line.split()[1] for line in capsys.readouterr().out.splitlines()} == {"pit", "spot"}


def test_update_rollback_and_history_run_as_shown(
    traffic: Traffic, capsys: pytest.CaptureFixture[str]
) -> None:
    run(ORDERS)
    updated, looked_back = capsys.readouterr().out.splitlines()
    assert updated == "True ['ok', 'ok', 'ok', 'ok']"
    assert looked_back == "1.0.0 ['start', 'update', 'rollback']"
