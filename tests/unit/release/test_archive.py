"""A release as one file: the same bytes each time, and no other bytes are taken."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightloop.errors import BundleError, SignatureInvalidError, WorkspaceError
from sightloop.release.archive import unpack_archive, write_archive
from sightloop.release.bundle import verify_bundle
from sightloop.release.signing import TrustStore, create_key, load_trust
from sightloop.testing.tiny_detectors import build_tiny_release

Member = tuple[tarfile.TarInfo, bytes]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrustStore]:
    folder = tmp_path_factory.mktemp("made")
    key = create_key(folder / "keys")
    build_tiny_release(folder / "bundle", semver="1.0.0", key=key, frames=2)
    trust = load_trust(folder / "keys")
    write_archive(folder / "bundle", folder / "good.sightloop", trust)
    return folder, trust


def _members(archive: Path) -> list[Member]:
    with tarfile.open(archive) as tar:
        return [(m, stream.read() if (stream := tar.extractfile(m)) else b"") for m in tar]


def _pack(path: Path, members: list[Member]) -> Path:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for member, data in members:
            member.size = len(data) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(data))
    data = path.read_bytes().rstrip(b"\0")
    whole = data + bytes(-len(data) % 512 + 1024)
    path.write_bytes(whole)
    return path


def _refusal(archive: Path, made: tuple[Path, TrustStore], tmp_path: Path) -> str:
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(BundleError) as caught:
        unpack_archive(archive, target, made[1])
    assert caught.value.message
    assert not (target / "manifest.json").exists(), "what is refused never looks whole"
    return caught.value.reason


def test_unpacked_release_is_the_release(made: tuple[Path, TrustStore], tmp_path: Path) -> None:
    folder, trust = made
    unpacked = unpack_archive(folder / "good.sightloop", tmp_path, trust)
    assert unpacked.digest == verify_bundle(tmp_path, trust).digest
    assert unpacked.digest == verify_bundle(folder / "bundle", trust).digest


def test_same_release_gives_the_same_bytes(made: tuple[Path, TrustStore], tmp_path: Path) -> None:
    folder, trust = made
    copy = tmp_path / "copy"
    copy.mkdir()
    unpack_archive(folder / "good.sightloop", copy, trust)
    os.utime(copy / "model.onnx", (1, 1))
    (copy / "model.onnx").chmod(0o600)
    write_archive(copy, tmp_path / "again.sightloop", trust)
    again = (tmp_path / "again.sightloop").read_bytes()
    assert again == (folder / "good.sightloop").read_bytes()


def test_file_is_a_tar_that_any_tool_reads(made: tuple[Path, TrustStore]) -> None:
    names = [member.name for member, _ in _members(made[0] / "good.sightloop")]
    assert names[:2] == ["manifest.json", "manifest.sig"]
    assert "model.onnx" in names


def test_repacking_members_unchanged_is_taken(
    made: tuple[Path, TrustStore], tmp_path: Path
) -> None:
    """The spoiling below spoils nothing by itself."""
    archive = _pack(tmp_path / "same", _members(made[0] / "good.sightloop"))
    assert archive.read_bytes() == (made[0] / "good.sightloop").read_bytes()


def _second_entry(members: list[Member]) -> None:
    members.append(members[2])


def _doubled_in_place(members: list[Member]) -> None:
    members[3] = members[2]


def _absolute(members: list[Member]) -> None:
    members[2][0].name = "/tmp/evil"


def _upwards(members: list[Member]) -> None:
    members[2][0].name = "../evil"


def _symlink(members: list[Member]) -> None:
    members[2][0].type = tarfile.SYMTYPE
    members[2][0].linkname = "/etc/passwd"


def _hard_link(members: list[Member]) -> None:
    members[2][0].type = tarfile.LNKTYPE
    members[2][0].linkname = "manifest.json"


def _device(members: list[Member]) -> None:
    members[2][0].type = tarfile.CHRTYPE


def _folder(members: list[Member]) -> None:
    member = tarfile.TarInfo("calibration")
    member.type = tarfile.DIRTYPE
    members.insert(2, (member, b""))


def _extra(members: list[Member]) -> None:
    members.append((tarfile.TarInfo("extra.txt"), b"payload"))


def _set_user(members: list[Member]) -> None:
    members[2][0].mode = 0o4755


def _other_order(members: list[Member]) -> None:
    members[2], members[3] = members[3], members[2]


def _without_manifest(members: list[Member]) -> None:
    del members[0]


@pytest.mark.parametrize(
    "spoil",
    [
        _second_entry,
        _doubled_in_place,
        _absolute,
        _upwards,
        _symlink,
        _hard_link,
        _device,
        _folder,
        _extra,
        _set_user,
        _other_order,
        _without_manifest,
    ],
)
def test_archive_of_another_shape_is_refused(
    made: tuple[Path, TrustStore], tmp_path: Path, spoil: Callable[[list[Member]], None]
) -> None:
    members = _members(made[0] / "good.sightloop")
    spoil(members)
    reason = _refusal(_pack(tmp_path / "bad", members), made, tmp_path)
    assert reason in {"archive_malformed", "archive_truncated"}


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_changed_byte_is_refused(made: tuple[Path, TrustStore], tmp_path: Path, place: int) -> None:
    members = _members(made[0] / "good.sightloop")
    member, data = members[place]
    members[place] = (member, data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    archive = _pack(tmp_path / "bad", members)
    expected = {0: "signature_invalid", 1: "signature_malformed"}.get(place, "digest_mismatch")
    assert _refusal(archive, made, tmp_path) in {expected, "signature_invalid"}


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.7, 0.999])
def test_truncated_archive_is_refused(
    made: tuple[Path, TrustStore], tmp_path: Path, kept: float
) -> None:
    data = (made[0] / "good.sightloop").read_bytes()
    (tmp_path / "cut").write_bytes(data[: int(len(data) * kept)])
    assert _refusal(tmp_path / "cut", made, tmp_path) == "archive_truncated"


@pytest.mark.parametrize("tail", [b"\0", b"more", bytes(512)])
def test_bytes_after_the_end_are_refused(
    made: tuple[Path, TrustStore], tmp_path: Path, tail: bytes
) -> None:
    data = (made[0] / "good.sightloop").read_bytes()
    (tmp_path / "long").write_bytes(data + tail)
    assert _refusal(tmp_path / "long", made, tmp_path) == "archive_malformed"


def test_bytes_hidden_in_the_padding_are_refused(
    made: tuple[Path, TrustStore], tmp_path: Path
) -> None:
    data = bytearray((made[0] / "good.sightloop").read_bytes())
    data[-1100] = 1
    (tmp_path / "padded").write_bytes(data)
    assert _refusal(tmp_path / "padded", made, tmp_path) in {"archive_malformed", "digest_mismatch"}


def test_manifest_beyond_its_bound_is_refused_unread(
    made: tuple[Path, TrustStore], tmp_path: Path
) -> None:
    member = tarfile.TarInfo("manifest.json")
    member.size = 17 << 20
    with open(tmp_path / "big", "wb") as stream:
        stream.write(member.tobuf(tarfile.USTAR_FORMAT))
        stream.truncate(18 << 20)
    assert _refusal(tmp_path / "big", made, tmp_path) == "file_too_large"


def test_file_beyond_the_bound_is_refused_unread(
    made: tuple[Path, TrustStore], tmp_path: Path
) -> None:
    with open(tmp_path / "huge", "wb") as stream:
        stream.truncate((8 << 30) + 1)
    assert _refusal(tmp_path / "huge", made, tmp_path) == "file_too_large"


def test_what_is_no_archive_is_refused(made: tuple[Path, TrustStore], tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"no archive\n" * 100)
    assert _refusal(tmp_path / "text", made, tmp_path) == "archive_malformed"


@pytest.mark.parametrize(("name", "reason"), [("none", "bundle_missing"), ("", "file_special")])
def test_what_is_no_file_is_refused(
    made: tuple[Path, TrustStore], tmp_path: Path, name: str, reason: str
) -> None:
    (tmp_path / "place").mkdir()
    assert _refusal(tmp_path / "place" / name, made, tmp_path) == reason


def test_strangers_archive_writes_nothing(made: tuple[Path, TrustStore], tmp_path: Path) -> None:
    with pytest.raises(SignatureInvalidError):
        unpack_archive(made[0] / "good.sightloop", tmp_path, TrustStore(()))
    assert not list(tmp_path.iterdir())


def test_failed_export_leaves_the_file_that_was_there(
    made: tuple[Path, TrustStore], tmp_path: Path
) -> None:
    out = tmp_path / "out.sightloop"
    out.write_bytes(b"old")
    broken = tmp_path / "broken"
    broken.mkdir()
    unpack_archive(made[0] / "good.sightloop", broken, made[1])
    (broken / "model.onnx").write_bytes(b"changed")
    with pytest.raises(BundleError):
        write_archive(broken, out, made[1])
    assert out.read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"out.sightloop", "broken"}


def test_export_into_no_folder_says_so(made: tuple[Path, TrustStore], tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError) as caught:
        write_archive(made[0] / "bundle", tmp_path / "none" / "x.sightloop", made[1])
    assert caught.value.reason == "file_unwritable"


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_no_single_byte_can_be_changed(made: tuple[Path, TrustStore], data: st.DataObject) -> None:
    whole = bytearray((made[0] / "good.sightloop").read_bytes())
    near_headers = st.integers(0, 12_000) | st.integers(len(whole) - 2000, len(whole) - 1)
    place = data.draw(near_headers | st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "changed").write_bytes(whole)
        (Path(name) / "target").mkdir()
        with pytest.raises(BundleError):
            unpack_archive(Path(name) / "changed", Path(name) / "target", made[1])
