from pathlib import Path

import pytest

from sightloop.errors import WorkspaceError
from sightloop.serving.embedded_history import EmbeddedHistory
from sightloop.serving.history import Action, ReleaseId, SlotEvent

ONE = ReleaseId("1.0.0", "1" * 64)
START = SlotEvent(at="2026-01-01T00:00:00.000Z", action=Action.START, release=ONE)


def test_history_without_a_file_is_forgotten() -> None:
    history = EmbeddedHistory("plate", None)
    history.append(START)
    history.close()
    assert history.record.champion == ONE
    assert EmbeddedHistory("plate", None).events() == ()


def test_history_with_a_file_is_there_again(tmp_path: Path) -> None:
    history = EmbeddedHistory("plate", tmp_path / "new" / "history.db")
    history.append(START)
    history.close()
    history.close()
    again = EmbeddedHistory("plate", tmp_path / "new" / "history.db")
    assert again.events() == (START,)
    assert again.record.champion == ONE
    again.close()


def test_file_is_held_until_the_history_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    history = EmbeddedHistory("plate", file)
    with pytest.raises(WorkspaceError) as caught:
        EmbeddedHistory("plate", file)
    assert caught.value.reason == "history_in_use"
    history.close()
    EmbeddedHistory("plate", file).close()


def test_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorkspaceError, match="expected a file that can be written"):
        EmbeddedHistory("plate", tmp_path / "file" / "history.db")
