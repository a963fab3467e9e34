"""The sweep finds the faults that it is made to find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sightloop._support.files import remove_temporaries, write_bytes_atomic
from sightloop.testing.interruptions import sweep
from sightloop.testing.write_faults import Fault

_TEXT = b"whole " * 100


class _Writes:
    """Writes one file, well or badly."""

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole

    def warm(self, folder: Path) -> None:
        pass

    def prepare(self, root: Path) -> None:
        pass

    def work(self, root: Path) -> None:
        remove_temporaries(root)
        if self._whole:
            write_bytes_atomic(root / "file", _TEXT)
        elif not (root / "file").exists():
            (root / "file").write_bytes(_TEXT)

    def seen(self, root: Path) -> Any:
        file = root / "file"
        if file.exists() and file.read_bytes() != _TEXT:
            # Not an `assert`: pytest would append both texts, at a length that depends on CI.
            raise AssertionError("half a file")

    def state(self, root: Path, seen: Any) -> Any:
        return sorted(path.name for path in root.iterdir())


@pytest.mark.parametrize("fault", [Fault.KILL, Fault.INTERRUPT, Fault.DISK_FULL])
def test_write_that_is_whole_or_absent_passes_at_every_point(tmp_path: Path, fault: Fault) -> None:
    done = sweep(_Writes(whole=True), tmp_path, tries=None, seed=1, faults=[fault])
    assert done.points >= 4  # opened, written, flushed, renamed
    assert done.tried == {fault.value: done.points}
    assert done.stopped >= 3  # a full disk stops no rename
    assert done.failures == ()


@pytest.mark.parametrize("fault", [Fault.KILL, Fault.DISK_FULL])
def test_write_in_place_is_found_half_written(tmp_path: Path, fault: Fault) -> None:
    done = sweep(_Writes(whole=False), tmp_path, tries=None, seed=1, faults=[fault])
    assert any("half a file" in failure.what for failure in done.failures)


def test_tries_are_drawn_by_the_seed(tmp_path: Path) -> None:
    one, other = (
        sweep(_Writes(whole=True), tmp_path / name, tries=2, seed=5, faults=[Fault.KILL])
        for name in ("one", "other")
    )
    assert one == other
    assert one.tried == {"kill": 2}
