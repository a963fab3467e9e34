"""`sightloop serve` on a terminal: the live line counts what is answered, and events stay whole."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import pytest

from sightloop.client.http_client import Client
from sightloop.testing.server_process import CLI
from sightloop.testing.tiny_traffic import tiny_traffic

DEADLINE_S = 60.0


class Terminal:
    """The other side of a pseudo-terminal, with all that was written to it."""

    def __init__(self, command: list[str]) -> None:
        self.text = ""
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read until the pattern stands there."""
        end_s = time.monotonic() + DEADLINE_S
        while (found := re.search(pattern, self.text)) is None:
            if time.monotonic() > end_s:
                pytest.fail(f"not within {DEADLINE_S} s: {pattern}\n{self.text[-2000:]}")
            if select.select([self._ours], [], [], 0.2)[0]:
                self.text += os.read(self._ours, 65536).decode()
        return found

    def close(self) -> None:
        """End the server, reading what it still says so that it is never held up."""
        self.process.terminate()
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # the terminal's last user is gone
                break
            self.text += data.decode()
        self.process.wait()
        os.close(self._ours)


def test_live_line_follows_the_frames_and_events_stay_whole(tmp_path: Path) -> None:
    traffic = tiny_traffic(tmp_path, images=1)
    root, first = traffic.workspace.root, traffic.folder_of(traffic.digests[0])
    terminal = Terminal(
        [*CLI, "serve", "--port", "0", "--workspace", str(root), "--release", str(first)]
    )
    try:
        with Client(terminal.wait_for(r"serving at (http\S+)")[1]) as client:
            for _ in range(3):
                client.detect((traffic.images / "000.jpg").read_bytes())
            terminal.wait_for(r"\x1b\[2Kplate 1\.0\.0  3 answered  0 refused  0 lost")
            client.update("plate", digest=traffic.digests[1])
            terminal.wait_for(r"\x1b\[2Kplate 1\.1\.0  3 answered")
    finally:
        terminal.close()
    assert terminal.process.returncode == 0
    lines = terminal.text.split("\r\n")
    events = [line for line in lines if '"event"' in line]
    assert [line for line in events if not re.search(r"(^|\x1b\[2K)\{\"at\".*\}$", line)] == []
