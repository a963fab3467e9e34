import json
import sys

import pytest

from sightloop import errors
from sightloop.cli import main as cli


def end_of(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["sightloop", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), 2),
        (errors.MissingExtraError("x"), 2),
        (errors.PortInUseError("x"), 2),
        (errors.DigestMismatchError("x"), 3),
        (errors.ReleaseRefusedError("x"), 3),
        (errors.RefusedAtStartError("x"), 3),
        (errors.ImageError("x"), 4),
        (errors.DatasetError("x"), 4),
        (errors.ModelLoadError("x"), 4),
        (errors.ReleaseNotFoundError("x"), 5),
        (errors.ServerUnreachableError("x"), 5),
        (errors.StepFailedError("x"), 6),
        (errors.RegistryError("x"), 6),
        (errors.SightloopError("x"), 1),
    ],
)
def test_every_error_has_its_exit_code(error: errors.SightloopError, code: int) -> None:
    assert cli.exit_code_of(error) == code


def test_error_is_one_line_and_with_json_an_object_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = end_of(monkeypatch, "bench", "nothing", "--json")
    out = capsys.readouterr()
    assert code == 2
    assert out.err.count("\n") == 1
    assert out.err.startswith("error: bench nothing: expected one of")
    assert json.loads(out.out)["error"]["reason"] == "bench_unknown"


def test_wrong_option_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert end_of(monkeypatch, "serve", "--no-such-option") == 2


def test_interrupt_ends_with_the_shells_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sightloop.app.locate.locate_release", interrupted)
    assert end_of(monkeypatch, "rollout", "start", "plate", "1.0.0") == 130


def test_server_that_is_not_there_is_said_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = end_of(monkeypatch, "rollout", "status", "plate", "--url", "http://127.0.0.1:9")
    assert code == 5
    assert "sightloop serve" in capsys.readouterr().err
