"""A maker with a key, a good release of theirs, and a node that trusts the maker."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sightloop.distribution.store import ReleaseStore
from sightloop.gates.chain import Admission, admit
from sightloop.gates.integrity import AcceptedReleases
from sightloop.release.bundle import verify_bundle
from sightloop.release.manifest import MANIFEST_NAME, SIGNATURE_NAME
from sightloop.release.signing import (
    SigningKey,
    TrustStore,
    create_key,
    load_signing_key,
    load_trust,
    sign,
)
from sightloop.release.verdict import Verdict
from sightloop.testing.guarded_server import Certificates, Guarded, serve_guarded
from sightloop.testing.tiny_detectors import build_tiny_detector, build_tiny_release


@dataclass(frozen=True, slots=True)
class Node:
    """A node with a champion of line `plate`; every candidate is offered to it."""

    folder: Path
    key: SigningKey
    trust: TrustStore
    store: ReleaseStore
    champion: Path
    accepted: AcceptedReleases

    def offer(self, candidate: Path) -> Admission:
        admission = admit(
            candidate,
            store=self.store,
            trust=self.trust,
            line="plate",
            champion_folder=self.champion,
            accepted=self.accepted,
        )
        if admission.loaded is not None:
            admission.loaded.close()
        return admission

    def refusal(self, candidate: Path) -> Verdict:
        """The verdict that refused; the champion's files are as before."""
        admission = self.offer(candidate)
        assert admission.loaded is None
        assert not any(verdict.passed for verdict in admission.verdicts[-1:])
        assert verify_bundle(self.champion, self.trust).digest == self.champion.name
        assert not list(self.store.root.glob(".tmp-*"))
        return admission.verdicts[-1]

    def candidate(self, **wanted: Any) -> Path:
        """A candidate of 1.1.0, well built and signed by the maker but for what is wanted."""
        path = self.folder / "candidate"
        build_tiny_release(path, **{"semver": "1.1.0", "key": self.key, "variant": 1, **wanted})
        return path

    def with_model(self, spoil: Callable[[Path, Path], object], **wanted: Any) -> Path:
        """A candidate whose network `spoil(good, bad)` has written."""
        good, bad = self.folder / "good.onnx", self.folder / "bad.onnx"
        build_tiny_detector(good, variant=1)
        spoil(good, bad)
        return self.candidate(model=bad, **wanted)


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("maker")
    key = create_key(folder / "keys")
    digest = build_tiny_release(folder / "champion", semver="1.0.0", key=key)
    build_tiny_release(folder / "good", semver="1.1.0", key=key, variant=1)
    return folder, digest


@pytest.fixture
def node(_made: tuple[Path, str], tmp_path: Path) -> Node:
    """A node that serves 1.0.0."""
    made, digest = _made
    keys = tmp_path / "keys"
    shutil.copytree(made / "keys", keys)
    trust = load_trust(keys)
    store = ReleaseStore(tmp_path / "store")
    champion = store.add(made / "champion", trust).folder
    return Node(
        folder=tmp_path,
        key=load_signing_key(keys / "default.key"),
        trust=trust,
        store=store,
        champion=champion,
        accepted=AcceptedReleases("1.0.0", frozenset({digest})),
    )


@pytest.fixture
def bundle(_made: tuple[Path, str], tmp_path: Path) -> Path:
    """A good release 1.1.0, to be spoilt by the test."""
    path = tmp_path / "bundle"
    shutil.copytree(_made[0] / "good", path)
    return path


@pytest.fixture
def sign_again(node: Node) -> Callable[[Path], None]:
    """Sign a folder's manifest.json as it lies there, with the maker's own key."""

    def apply(folder: Path) -> None:
        data = (folder / MANIFEST_NAME).read_bytes()
        (folder / SIGNATURE_NAME).write_bytes(sign(node.key, data))

    return apply


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A real server that other machines could reach; one for all tests of a file."""
    folder = tmp_path_factory.mktemp("guarded")
    with serve_guarded(folder, make_certificates(folder)) as it:
        yield it


def make_certificates(folder: Path) -> Certificates:
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    authority = unsigned("authority", authority_key.public_key()).add_extension(constraints, True)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), address])
    own = unsigned("server", key.public_key()).add_extension(names, False)
    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    pem = serialization.Encoding.PEM
    made.authority.write_bytes(authority.sign(authority_key, hashes.SHA256()).public_bytes(pem))
    made.certificate.write_bytes(own.sign(authority_key, hashes.SHA256()).public_bytes(pem))
    form = serialization.PrivateFormat.PKCS8
    made.key.write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
    return made


def unsigned(subject: str, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in (subject, "authority")
    ]
    builder = x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1])
    builder = builder.public_key(public).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(minutes=5))
    return builder.not_valid_after(now + datetime.timedelta(hours=1))
