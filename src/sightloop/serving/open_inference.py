"""The Open Inference Protocol over a server's lines: one plane under REST and gRPC.

A model is a line, a version is a release of it: its semver, or 6 and more digits of its digest. A
request that names one is answered by that release or refused, never by another. What is true of a
release is read from its manifest, by digest, so that it cannot change. Knows no HTTP, no gRPC.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sightloop._support.clock import Clock
from sightloop.distribution.store import StoreEntry
from sightloop.errors import (
    ReleaseNotFoundError,
    ReleaseNotReadyError,
    UnsupportedError,
)
from sightloop.protocol.envelope import AnswerParts, join_request, split_answer
from sightloop.protocol.load_order import LoadOrder
from sightloop.protocol.model import config_of, metadata_of
from sightloop.protocol.requests import is_quickly_read, read_head
from sightloop.protocol.settings import RequestSettings, read_settings
from sightloop.release.manifest import Manifest, parse_semver
from sightloop.serving.access import Caller
from sightloop.serving.adminplane import AdminPlane
from sightloop.serving.asking import Ask, Reply
from sightloop.serving.dataplane import DataPlane
from sightloop.serving.history import ReleaseId
from sightloop.serving.line import ServedLine
from sightloop.serving.model_statistics import statistics_of
from sightloop.serving.slot import WorkerGroup
from sightloop.serving.update import OrderOutcome
from sightloop.serving.wire import Kind

EXTENSIONS: Final = (
    "binary_tensor_data",
    "model_repository",
    "model_configuration",
    "statistics",
    "parameters",
    "sequence",
)
"""What the server says it offers; each is tested with the stock client."""
ALREADY: Final = "already_champion"
_DIGEST_PREFIX = re.compile(r"[0-9a-f]{6,64}")
_MANIFESTS_MAX = 64


class KnownReleases(Protocol):
    """The workspace's store, as far as this plane reads it. May block on the disk."""

    def manifest(self, digest: str) -> Manifest:
        """The manifest of a release; `ReleaseNotFoundError` or `BundleError` without it."""

    def entries(self) -> tuple[StoreEntry, ...]:
        """Every release that is here, by line and semver."""

    def find(self, line: str, semver_or_digest: str) -> str:
        """The digest of the one release that is meant; `ReleaseNotFoundError` if none."""


@dataclass(frozen=True, slots=True)
class WorkerRefusal:
    """A worker's word that it gives no answer; `status` as HTTP has it."""

    status: int
    reason: str
    message: str


class OpenInference:
    """What the protocol's clients may ask of a server."""

    def __init__(
        self,
        lines: Mapping[str, ServedLine],
        data: DataPlane,
        admin: AdminPlane,
        *,
        known: KnownReleases,
        clock: Clock,
        version: str,
    ) -> None:
        self._lines = lines
        self._data = data
        self._admin = admin
        self._known = known
        self._clock = clock
        self._version = version
        self._manifests: dict[str, Manifest] = {}

    @property
    def ready(self) -> bool:
        """Whether every line answers."""
        return self._data.ready

    def server_metadata(self) -> dict[str, Any]:
        """Name, version and extensions of the server."""
        return {"name": "sightloop", "version": self._version, "extensions": list(EXTENSIONS)}

    def model_ready(self, model: str, version: str) -> bool:
        """Whether somebody of this line, or of this release of it, answers now.

        Raises:
            LineNotFoundError, ReleaseNotFoundError: Neither is here.
        """
        table = self._data.line(model).slot.table
        digest = self._digest_of(model, version)
        group = table.answering if digest is None else table.of_digest(digest)
        return group is not None and group.alive

    async def model_metadata(self, model: str, version: str) -> dict[str, Any]:
        """Versions and tensors of a line, as the named release has them, else the champion.

        Raises:
            LineNotFoundError, ReleaseNotFoundError, ReleaseNotReadyError.
        """
        manifest, _ = await self._manifest_of(model, version)
        return metadata_of(manifest, [release.semver for release in self._loaded(model)])

    async def model_config(self, model: str, version: str) -> dict[str, Any]:
        """Triton's model configuration of a line.

        Raises:
            As `model_metadata`.
        """
        manifest, digest = await self._manifest_of(model, version)
        return config_of(manifest, digest)

    def statistics(self, model: str, version: str) -> dict[str, Any]:
        """Counts of the loaded releases: of one, of a line, or with no name of all lines.

        Raises:
            LineNotFoundError, ReleaseNotFoundError: Neither is here.
        """
        found = []
        for name in [model] if model else sorted(self._lines):
            digest = self._digest_of(name, version)
            loaded = self._loaded(name)
            found += [
                statistics_of(name, self._lines[name].dispatcher.tally.of(release))
                for release in loaded
                if digest in (None, release.digest)
            ]
        return {"model_stats": found}

    async def infer(
        self,
        model: str,
        version: str,
        head: bytes | memoryview,
        raw: bytes | memoryview,
        *,
        time_left_s: float | None = None,
    ) -> AnswerParts | WorkerRefusal:
        """Have one request answered.

        Args:
            model: The line.
            version: A release of it; empty takes who answers.
            head: The request's JSON.
            raw: The raw tensors behind it.
            time_left_s: What the transport allows; the request's own `timeout` counts too.

        Raises:
            ProtocolError: Malformed, as far as the front reads it.
            LineNotFoundError, ReleaseNotFoundError: Neither is here.
            ServingError: Nobody could answer, or not in time.
        """
        digest = self._digest_of(model, version)
        settings = self._settings(head)
        limits = [s for s in (settings.timeout_s, time_left_s) if s is not None]
        ask = Ask(
            join_request(head, raw),
            kind=Kind.INFER,
            stream=settings.stream,
            timeout_s=min(limits, default=None),
            digest=digest,
        )
        reply = await self._data.ask(model, ask)
        if reply.status != 200:
            return _refusal_of(reply)
        parts = split_answer(reply.body)
        if digest not in (None, parts.digest):
            raise ReleaseNotReadyError(
                f"line {model}: expected release {digest} to answer, found {parts.digest}; the "
                "answer is dropped"
            )
        return parts

    async def repository_index(self, *, ready: bool) -> list[dict[str, str]]:
        """Every release that is here: loaded, on trial, or in the store.

        Args:
            ready: Leave out what does not answer.
        """
        stored = () if ready else await asyncio.to_thread(self._known.entries)
        found = []
        for name in sorted(self._lines):
            table = self._lines[name].slot.table
            found += [_index_of(name, group) for group in table.groups if group.alive or not ready]
            loaded = {group.release.digest for group in table.groups}
            found += [
                _index(name, entry.semver, "UNAVAILABLE", "not loaded")
                for entry in stored
                if entry.line == name and entry.digest not in loaded
            ]
        return found

    async def load(self, model: str, order: LoadOrder, *, caller: Caller) -> OrderOutcome | None:
        """Prove a release and switch to it; returns when it answers or is refused.

        Args:
            model: The line.
            order: Which release; the store's newest if it names none.
            caller: Who orders it.

        Returns:
            How the order ended; None when that release answers already.

        Raises:
            LineNotFoundError, ReleaseNotFoundError, UpdateInProgressError, ServingError.
        """
        line = self._data.line(model)
        if order.bundle is not None:
            outcome = await self._admin.update(
                model, bundle=order.bundle, digest=None, caller=caller
            )
        else:
            champion = line.slot.table.champion
            digest = await asyncio.to_thread(self._ordered, model, order.version, champion)
            if digest is None:
                return None
            outcome = await self._admin.update(model, bundle=None, digest=digest, caller=caller)
        refusal = outcome.refusal
        return None if refusal is not None and refusal.reason == ALREADY else outcome

    def unload(self, model: str) -> None:
        """Refuse: a line that serves is not taken from its clients by this protocol.

        Raises:
            LineNotFoundError: No such line.
            UnsupportedError: Always.
        """
        self._data.line(model)
        raise UnsupportedError(
            f"line {model}: unload is not offered, since a line in production would answer "
            "nobody; load another release, or roll back with `sightloop rollout rollback`"
        )

    def _ordered(self, model: str, version: str | None, champion: WorkerGroup | None) -> str | None:
        """The digest that a load means; None if it serves already."""
        serving = champion.release if champion is not None else None
        if version is not None:
            digest = self._known.find(model, version)
            return None if serving is not None and digest == serving.digest else digest
        mine = [entry for entry in self._known.entries() if entry.line == model]
        if not mine:
            raise ReleaseNotFoundError(
                f"line {model}: expected a release in the store, found none; name a bundle"
            )
        newest = max(mine, key=lambda entry: parse_semver(entry.semver))
        if serving is not None and parse_semver(newest.semver) <= parse_semver(serving.semver):
            return None
        return newest.digest

    def _settings(self, head: bytes | memoryview) -> RequestSettings:
        """What the request says of itself; of a head that is pixels the worker alone reads that.

        Reading it here would stop every other request for a while.
        """
        if not is_quickly_read(head):
            return RequestSettings()
        return read_settings(read_head(head).parameters)

    def _loaded(self, model: str) -> list[ReleaseId]:
        return [group.release for group in self._data.line(model).slot.table.groups]

    def _digest_of(self, model: str, version: str) -> str | None:
        """The loaded release that a version names; None for no version."""
        loaded = self._loaded(model)
        if not version:
            return None
        for release in loaded:
            if release.semver == version or (
                _DIGEST_PREFIX.fullmatch(version) and release.digest.startswith(version)
            ):
                return release.digest
        names = ", ".join(f"{r.semver} ({r.digest[:12]})" for r in loaded) or "none"
        raise ReleaseNotFoundError(
            f"model {model}: version: expected one of the loaded releases, {names}, found "
            f"{version[:80]!r}; name a semver, 6 or more digits of a digest, or no version"
        )

    async def _manifest_of(self, model: str, version: str) -> tuple[Manifest, str]:
        digest = self._digest_of(model, version)
        if digest is None:
            loaded = self._loaded(model)
            if not loaded:
                raise ReleaseNotReadyError(f"model {model}: expected a release, found none loaded")
            digest = loaded[0].digest
        manifest = self._manifests.get(digest)
        if manifest is None:
            manifest = await asyncio.to_thread(self._known.manifest, digest)
            while len(self._manifests) >= _MANIFESTS_MAX:
                del self._manifests[next(iter(self._manifests))]
            self._manifests[digest] = manifest
        return manifest, digest


def _index_of(name: str, group: WorkerGroup) -> dict[str, str]:
    if group.alive:
        return _index(name, group.release.semver, "READY", "")
    return _index(name, group.release.semver, "UNAVAILABLE", "its workers are being started again")


def _index(name: str, version: str, state: str, why: str) -> dict[str, str]:
    return {"name": name, "version": version, "state": state, "reason": why}


def _refusal_of(reply: Reply) -> WorkerRefusal:
    error = json.loads(reply.body)["error"]
    return WorkerRefusal(reply.status, error["reason"], error["message"])
