"""What the commands of `sightloop release` share."""

from __future__ import annotations

import pytest

from sightloop.cli.release_options import SplitName, progress_bar
from sightloop.dataset.version import SPLITS


def test_progress_leaves_standard_output_to_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("work") as report:
        report(0.5, "image 1/2")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")  # and no terminal, no bar


def test_splits_are_those_of_a_dataset() -> None:
    assert [name.value for name in SplitName] == list(SPLITS)
