from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from sightloop.demo.refused_release import RefusedRelease, read_refused, refused_section
from sightloop.demo.training import Judged

SLICE = {
    "labels": 40,
    "found_by_both": 20,
    "lost": 15,
    "gained": 1,
    "p_value": 0.0001,
    "dropped": True,
}


def _quality(folder: Path, *, map50: tuple[float, float] = (0.95, 0.97)) -> Path:
    (folder / "lost").mkdir(parents=True)
    (folder / "lost" / "01.jpg").write_bytes(b"picture")
    value = {
        "champion": {"name": "1.1.0", "map50": map50[0]},
        "candidate": {"name": "1.2.0", "map50": map50[1]},
        "slices": [
            {**SLICE, "name": "all", "labels": 400, "gained": 30, "dropped": False},
            {**SLICE, "name": "light=dark"},
            {**SLICE, "name": "size=large", "labels": 0},
        ],
        "lost": [{"image": "images/test/1.jpg", "mistakes": ["missed pit: no <pit> near"]}],
    }
    (folder / "quality.json").write_text(json.dumps(value))
    return folder


def _refused(folder: Path, **changes: object) -> RefusedRelease:
    judged = Judged("1.2.0", "quality", "slice_dropped", "too few < found", _quality(folder), 20.0)
    return replace(read_refused(judged, "1.1.0", champion_kept=True), **changes)  # type: ignore[arg-type]  # fields by name


def test_recall_of_both_is_read_off_who_found_what(tmp_path: Path) -> None:
    refused = _refused(tmp_path / "quality")
    dark = refused.slice_of("light=dark")
    assert dark is not None
    assert (dark.before, dark.after) == (35 / 40, 21 / 40)
    assert [one.name for one in refused.slices] == ["all", "light=dark"]
    assert refused.as_dict()["dropped"] == ["light=dark"]


def test_it_is_as_meant_only_if_quality_refuses_it_for_the_night(tmp_path: Path) -> None:
    refused = _refused(tmp_path / "quality")
    assert refused.refused_for_the_night
    assert not replace(refused, gate="behaviour").refused_for_the_night
    assert not replace(refused, champion_kept=False).refused_for_the_night
    assert not replace(refused, slices=()).refused_for_the_night


def test_a_release_that_no_gate_refused_is_said_to_be_none(tmp_path: Path) -> None:
    judged = Judged("1.2.0", "none", "not_refused", "every gate let it pass", None, None)
    refused = read_refused(judged, "1.1.0", champion_kept=True)
    assert not refused.refused_for_the_night
    assert not refused.better_overall
    assert "not_refused" in refused_section(refused, "story")
    assert "not as it was meant" in refused_section(refused, "story")


def test_section_shows_the_message_the_slices_and_the_lost_frames(tmp_path: Path) -> None:
    page = refused_section(_refused(tmp_path / "quality"), "a story")
    assert "too few &lt; found" in page
    assert "no &lt;pit&gt; near" in page
    assert "cGljdHVyZQ==" in page
    assert "0.875" in page
    assert page.count("dropped</td>") == 1
    assert "worse at night, refused" in page
    assert refused_section(None, "a story") == ""
