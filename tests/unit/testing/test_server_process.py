from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from sightloop.errors import ServingError
from sightloop.testing import server_process
from sightloop.testing.server_process import ServerProcess

READY = """
import json, signal, sys
print(json.dumps({"event": "serving", "url": "http://127.0.0.1:1", "arguments": sys.argv[1:]}))
sys.stdout.flush()
signal.sigwait([signal.SIGTERM])
"""
_BLOCK = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"


def _stand_in(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(server_process, "CLI", (sys.executable, "-c", code))


def test_a_server_that_cannot_start_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _stand_in(monkeypatch, "import sys; sys.exit('error: port 80: taken [port_in_use]')")
    with pytest.raises(ServingError, match=r"exit code 1.*\n.*port_in_use"):
        ServerProcess(tmp_path, log=tmp_path / "server.log")


def test_a_server_ends_with_its_context(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _stand_in(monkeypatch, _BLOCK + READY)
    with ServerProcess(tmp_path, log=tmp_path / "server.log") as server:
        assert server.url == "http://127.0.0.1:1"
        process = server._process
        assert process.poll() is None
    assert process.poll() == 0


def test_a_server_that_was_let_go_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _stand_in(monkeypatch, _BLOCK + READY)
    with ServerProcess(tmp_path, log=tmp_path / "server.log") as server:
        server.let_go()
    assert server._process.poll() is None
    assert server.stop() == 0


def test_a_server_that_was_let_go_ends_when_its_context_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _stand_in(monkeypatch, _BLOCK + READY)
    server = ServerProcess(tmp_path, log=tmp_path / "server.log")
    server.let_go()
    server.__exit__(RuntimeError, RuntimeError(), None)
    assert server._process.poll() == 0


def test_a_server_that_does_not_drain_is_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(server_process, "_DRAIN_S", 0.05)
    _stand_in(
        monkeypatch,
        READY.replace("signal.sigwait([signal.SIGTERM])", "signal.pause()").replace(
            "print(", "signal.signal(signal.SIGTERM, signal.SIG_IGN); print("
        ),
    )
    server = ServerProcess(tmp_path, log=tmp_path / "server.log")
    assert server.stop() == -signal.SIGKILL
    server.__exit__(None, None, None)
