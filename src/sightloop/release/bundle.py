"""The bundle: a release as a folder, written whole and believed only after every byte is checked.

Invariant: a `Bundle` from `verify_bundle` or `copy_bundle` held, at that moment, exactly the files
a trusted key signed, with those bytes. The signature is checked before the manifest is parsed,
the manifest is read once, and the digest is over the bytes that were read. A folder somebody
else can write to may change afterwards: `distribution/store.py` therefore verifies its own copy.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from sightloop._support.files import new_folder, sha256_file
from sightloop.errors import (
    ConfigError,
    FileSetError,
    ManifestInvalidError,
    ModelLoadError,
    SignatureInvalidError,
)
from sightloop.release.calibration import Expected, check_frame_name, expected_to_bytes
from sightloop.release.folder import (
    check_listing,
    check_members,
    open_folder,
    read_bounded,
    stream_member,
)
from sightloop.release.manifest import (
    CARD_NAME,
    EXPECTED_NAME,
    FRAMES_FOLDER,
    MANIFEST_NAME,
    MODEL_NAME,
    SCHEMA,
    SIGNATURE_NAME,
    Calibration,
    FileEntry,
    InputContract,
    LatencyBaseline,
    Lineage,
    Manifest,
    Metrics,
    OutputContract,
    Preprocess,
    Thresholds,
    Tolerances,
    Weights,
    digest_of,
    manifest_from_bytes,
    manifest_to_bytes,
)
from sightloop.release.model_card import model_card
from sightloop.release.signing import SigningKey, TrustStore, check_signature, sign

MANIFEST_BYTES_MAX: Final = 16 << 20
SIGNATURE_BYTES_MAX: Final = 4 << 10
UNVERIFIED: Final = "unverified"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A release's folder with its manifest.

    Attributes:
        folder: Where the files lie; links in its own path are resolved.
        manifest: What manifest.json says.
        digest: Hex SHA-256 of manifest.json's bytes.
        signer: Key id of the trusted signer, or `unverified` from `read_bundle`.
    """

    folder: Path
    manifest: Manifest
    digest: str
    signer: str

    @property
    def model(self) -> Path:
        """The network's file."""
        return self.folder / MODEL_NAME


@dataclass(frozen=True, slots=True)
class ManifestDraft:
    """A manifest before its files are known: what `write_bundle` completes and signs."""

    line: str
    semver: str
    created: str
    classes: tuple[str, ...]
    input: InputContract
    preprocess: Preprocess
    output: OutputContract
    weights: Weights
    thresholds: Thresholds = field(default_factory=Thresholds)
    tolerances: Tolerances = field(default_factory=Tolerances)
    latency: LatencyBaseline | None = None
    lineage: Lineage = field(default_factory=Lineage)
    metrics: Metrics = field(default_factory=Metrics)


def write_bundle(
    folder: Path,
    *,
    model: Path,
    draft: ManifestDraft,
    frames: Sequence[tuple[str, bytes]],
    expected: Expected,
    key: SigningKey,
) -> Bundle:
    """Write and sign a release; `folder` appears whole or not at all.

    Args:
        folder: Where to write: absent or empty.
        model: The ONNX file, copied.
        draft: The manifest without its files.
        frames: File name and image file bytes of every calibration frame.
        expected: What is to be found in them, for exactly these frames.
        key: The signing key.

    Raises:
        ConfigError: folder_exists: `folder` holds something already.
        BundleError: The parts do not fit together.
        ModelLoadError: `model` cannot be read.
    """
    _check_target(folder)
    _check_frames(frames, expected)
    with new_folder(folder) as temporary:
        try:
            shutil.copyfile(model, temporary / MODEL_NAME)
        except OSError as error:
            raise ModelLoadError(
                f"model {model}: expected an ONNX file, found: {error.strerror}", "model_unreadable"
            ) from error
        files = {MODEL_NAME: _entry_of(temporary / MODEL_NAME)}
        parts = [(EXPECTED_NAME, expected_to_bytes(expected))]
        parts += [(f"{FRAMES_FOLDER}/{name}", data) for name, data in frames]
        for path, data in parts:
            files[path] = _write_part(temporary / path, data)
        card = model_card(_complete(draft, files, expected))
        files[CARD_NAME] = _write_part(temporary / CARD_NAME, card.encode())
        manifest = _complete(draft, files, expected)
        data = manifest_to_bytes(manifest)
        (temporary / MANIFEST_NAME).write_bytes(data)
        (temporary / SIGNATURE_NAME).write_bytes(sign(key, data))
    return Bundle(folder.resolve(), manifest, digest_of(data), key.key_id)


def _check_target(folder: Path) -> None:
    occupied = folder.is_symlink() or (folder.exists() and not folder.is_dir())
    if occupied or (folder.is_dir() and any(folder.iterdir())):
        raise ConfigError(
            f"{folder}: expected no folder or an empty one to write the release to, found "
            "something; name another --out or remove it first",
            "folder_exists",
        )


def _check_frames(frames: Sequence[tuple[str, bytes]], expected: Expected) -> None:
    names = [check_frame_name(name) for name, _ in frames]
    if len(set(names)) != len(names):
        raise FileSetError("calibration frames: expected distinct file names, found one twice")
    if set(names) != {frame.frame for frame in expected.frames}:
        raise FileSetError(
            "calibration frames: expected an expectation for each frame and none else, found "
            f"{len(names)} frames and {len(expected.frames)} expectations that differ"
        )


def _entry_of(path: Path) -> FileEntry:
    return FileEntry(sha256=sha256_file(path), bytes=path.stat().st_size)


def _write_part(path: Path, data: bytes) -> FileEntry:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return FileEntry(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def _complete(draft: ManifestDraft, files: dict[str, FileEntry], expected: Expected) -> Manifest:
    frames = tuple(sorted(path for path in files if path.startswith(f"{FRAMES_FOLDER}/")))
    try:
        return Manifest(
            schema=SCHEMA,
            line=draft.line,
            semver=draft.semver,
            created=draft.created,
            files=files,
            classes=draft.classes,
            input=draft.input,
            preprocess=draft.preprocess,
            output=draft.output,
            thresholds=draft.thresholds,
            calibration=Calibration(
                frames=frames, expected_from=expected.source, tolerances=draft.tolerances
            ),
            weights=draft.weights,
            latency=draft.latency,
            lineage=draft.lineage,
            metrics=draft.metrics,
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise ManifestInvalidError(f"the release to build: {where}: {first['msg']}") from error


def verify_bundle(folder: Path, trust: TrustStore) -> Bundle:
    """Believe a bundle: a trusted signature, exactly the signed files, every byte as signed.

    Raises:
        SignatureInvalidError: signature_missing, signature_malformed, signer_untrusted or
            signature_invalid.
        ManifestInvalidError: Signed, but no manifest of this schema.
        FileSetError: bundle_missing, file_missing, file_unknown, folder_unknown, file_linked,
            file_special, file_too_large or file_unreadable.
        DigestMismatchError: size_mismatch or digest_mismatch.
    """
    with open_folder(folder) as root:
        data, signer, manifest = _read_signed(root, trust)
        check_listing(root, files=_all_files(manifest))
        check_members(root, manifest.files)
    return Bundle(folder.resolve(), manifest, digest_of(data), signer)


def copy_bundle(source: Path, target: Path, trust: TrustStore) -> Bundle:
    """Copy a bundle into the empty folder `target`, keeping only what proved to be as signed.

    What is copied is what was hashed: a source changed meanwhile cannot slip in other bytes.
    Nothing is flushed to the disk here.

    Raises:
        BundleError: As `verify_bundle`, of the source; `target` is then to be thrown away.
    """
    with open_folder(source) as root:
        data, signer, manifest = _read_signed(root, trust)
        check_listing(root, files=_all_files(manifest))
        signature = read_bounded(root, SIGNATURE_NAME, bytes_max=SIGNATURE_BYTES_MAX)
        check_signature(signature, data, trust)
        for path, entry in manifest.files.items():
            copy = target / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            with open(copy, "xb") as stream:
                stream_member(root, path, entry, stream.write)
    (target / SIGNATURE_NAME).write_bytes(signature)
    (target / MANIFEST_NAME).write_bytes(data)
    return Bundle(target.resolve(), manifest, digest_of(data), signer)


def claimed_digest(folder: Path) -> str:
    """The digest of the manifest.json that lies in `folder`; nothing else is looked at.

    Raises:
        FileSetError: No readable manifest.json.
    """
    with open_folder(folder) as root:
        return digest_of(read_bounded(root, MANIFEST_NAME, bytes_max=MANIFEST_BYTES_MAX))


def read_bundle(folder: Path) -> Bundle:
    """Read what a bundle says about itself, believed by nobody (for `release show` alone).

    Raises:
        FileSetError: No readable manifest.json.
        ManifestInvalidError: It is no manifest of this schema.
    """
    with open_folder(folder) as root:
        data = read_bounded(root, MANIFEST_NAME, bytes_max=MANIFEST_BYTES_MAX)
    return Bundle(folder.resolve(), manifest_from_bytes(data), digest_of(data), UNVERIFIED)


def _read_signed(root: int, trust: TrustStore) -> tuple[bytes, str, Manifest]:
    data = read_bounded(root, MANIFEST_NAME, bytes_max=MANIFEST_BYTES_MAX)
    try:
        signature = read_bounded(root, SIGNATURE_NAME, bytes_max=SIGNATURE_BYTES_MAX)
    except FileSetError as error:
        if error.reason != "file_missing":
            raise
        raise SignatureInvalidError(
            f"{SIGNATURE_NAME}: expected the maker's signature, found none; an unsigned release "
            "never runs; build it with `sightloop release build`",
            "signature_missing",
        ) from error
    signer = check_signature(signature, data, trust)
    return data, signer, manifest_from_bytes(data)


def _all_files(manifest: Manifest) -> frozenset[str]:
    return frozenset(_with_own(manifest.files))


def _with_own(files: Iterable[str]) -> Iterable[str]:
    yield MANIFEST_NAME
    yield SIGNATURE_NAME
    yield from files
