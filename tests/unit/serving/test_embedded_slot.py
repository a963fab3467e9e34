import threading
from pathlib import Path

import pytest

from sightloop.errors import BackendError
from sightloop.release.bundle import read_bundle
from sightloop.release.signing import create_key
from sightloop.runtime.loaded_release import LoadedRelease, load_release
from sightloop.serving.embedded_slot import Held, HeldSlot, HeldTable, exchanged, succeeded
from sightloop.testing.plates import render_plate
from sightloop.testing.tiny_detectors import build_tiny_release

FRAME = render_plate(7)[0]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    folder = tmp_path_factory.mktemp("bundles")
    key = create_key(folder / "keys")
    for number in range(3):
        build_tiny_release(
            folder / str(number), semver=f"1.{number}.0", key=key, variant=number, frames=2
        )
    return tuple(folder / str(number) for number in range(3))


def load(folder: Path) -> LoadedRelease:
    bundle = read_bundle(folder)
    return load_release(folder, bundle.manifest, bundle.digest)


def test_update_keeps_one_previous_and_hands_out_the_one_before(
    bundles: tuple[Path, ...],
) -> None:
    a, b, c = (Held(load(bundle)) for bundle in bundles)
    first, nobody = succeeded(HeldTable(), a)
    second, none_yet = succeeded(first, b)
    third, replaced = succeeded(second, c)
    assert (nobody, none_yet, replaced) == (None, None, a)
    assert (third.champion, third.previous) == (c, b)
    back = exchanged(third)
    assert (back.champion, back.previous) == (b, c)
    assert [t.order for t in (first, second, third, back)] == [1, 2, 3, 4]


def test_reader_that_took_a_release_just_closed_is_answered_by_the_next(
    bundles: tuple[Path, ...],
) -> None:
    old, new = Held(load(bundles[0])), Held(load(bundles[1]))
    slot = HeldSlot()
    slot.table = HeldTable(champion=old)
    answered: list[object] = []

    def ask() -> None:
        asked = slot.ask(FRAME)
        answered.append(asked[0] if asked is not None else None)

    with old.lock:
        reader = threading.Thread(target=ask)
        reader.start()  # takes `old` and waits for its lease, or comes after the switch: both do
        slot.table, _ = succeeded(slot.table, new)
        loaded, old._loaded = old._loaded, None  # what `close` does once it has the lock
    reader.join(30)
    assert answered == [new]
    assert loaded is not None


def test_close_waits_for_the_reader_and_happens_once(bundles: tuple[Path, ...]) -> None:
    held = Held(load(bundles[0]))
    loaded = held.loaded
    assert loaded is not None
    closing = threading.Thread(target=held.close)
    with held.lock:
        closing.start()
        closing.join(0.1)
        assert closing.is_alive()
        loaded.detect(FRAME)  # not closed under the reader's hands
        assert held.loaded is loaded
    closing.join(30)
    held.close()
    assert held.loaded is None
    with pytest.raises(BackendError):
        loaded.detect(FRAME)


def test_empty_slot_answers_nothing() -> None:
    assert HeldSlot().ask(FRAME) is None
