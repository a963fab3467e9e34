"""A server in a process of its own, started as a person starts it: `sightloop serve`.

For the demo, the bench and integration tests. The child stays in this session: nice levels only
count among processes of one session. Its events go to a log file, its first line on standard
output says where it listens.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, Final, Self

from sightloop.config.environment import inherited_environment
from sightloop.errors import ServingError

CLI: Final = (sys.executable, "-c", "from sightloop.cli.main import main; main()")
"""The command line of this very installation, whatever PATH says."""

_DRAIN_S: Final = 20.0
_LOG_TAIL_LINES: Final = 12


class ServerProcess:
    """A running server. Use as a context: it is ended on the way out, unless it was let go.

    Attributes:
        url: Where it listens.
        grpc: Where it listens for gRPC; None if it does not.
        pid: Its front's process id.
        log: File with its events, one JSON object a line.
    """

    def __init__(
        self,
        workspace: Path,
        *,
        log: Path,
        releases: Sequence[Path] = (),
        port: int = 0,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Start a server and wait until it answers.

        Args:
            workspace: Its workspace.
            log: Where its events are written.
            releases: First releases, for lines without a history.
            port: 0 takes a free one.
            environment: Variables beside this process's own, such as `SIGHTLOOP_SERVE_WORKERS`.

        Raises:
            ServingError: It ended before it was ready; the message holds the end of its log.
        """
        self.log = log
        self._kept = False
        command = [*CLI, "serve", "--workspace", str(workspace), "--port", str(port), "--json"]
        for folder in releases:
            command += ["--release", str(folder)]
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as stream:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stream,
                env={**inherited_environment(), **environment},
            )
        try:
            said = self._read_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.url = str(said["url"])
        self.grpc = str(said["grpc"]) if said.get("grpc") else None
        self.pid = self._process.pid

    def _read_ready(self) -> dict[str, object]:
        line = self._output.readline()
        said = json.loads(line) if line.strip() else {}
        if said.get("event") != "serving":
            code = self._process.wait()
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])
            raise ServingError(
                f"server: expected it to say where it listens, found exit code {code}; the end of "
                f"{self.log}:\n{tail}",
                "server_not_started",
            )
        return dict(said)

    @property
    def _output(self) -> IO[bytes]:
        assert self._process.stdout is not None, "opened as a pipe"
        return self._process.stdout

    def let_go(self) -> None:
        """Leave the server running when the context ends."""
        self._kept = True

    def stop(self) -> int:
        """Let it answer what is open, end it, and give its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_DRAIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None or not self._kept:
            self.stop()
        self._output.close()
