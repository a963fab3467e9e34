from pathlib import Path

import pytest

from sightloop.config.serving import ServingConfig, load_serving_config
from sightloop.errors import ConfigError


def settings(folder: Path, text: str) -> Path:
    path = folder / "sightloop.toml"
    path.write_text(text)
    return path


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = settings(tmp_path, "[serve]\nport = 1\nthreads = 2\npending_max = 3\n")
    environment = {"SIGHTLOOP_SERVE_PORT": "10", "SIGHTLOOP_SERVE_THREADS": "20"}
    found = load_serving_config(file=file, flags={"port": 100}, environment=environment)
    assert (found.port, found.threads, found.pending_max) == (100, 20, 3)
    assert found.host == ServingConfig().host == "127.0.0.1"


def test_flag_that_was_not_given_does_not_count(tmp_path: Path) -> None:
    file = settings(tmp_path, "[serve]\nport = 1\n")
    assert load_serving_config(file=file, flags={"port": None}, environment={}).port == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[serve]\nprot = 1\n", r"serve\.prot: no such key \(found 1\)"),
        ("[server]\nport = 1\n", r"\[serve\] alone, found server"),
        ("[serve]\nport = 70000\n", "serve.port"),
        ("[serve]\nthreads = 0\n", "serve.threads"),
        ("serve = 3\n", r"table \[serve\]"),
        ("[serve\n", "readable TOML"),
    ],
)
def test_wrong_settings_are_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_serving_config(file=settings(tmp_path, text), flags={}, environment={})


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        ServingConfig().port = 1


@pytest.mark.parametrize(
    ("port", "grpc_port", "meant"),
    [(8080, None, 8081), (0, None, 0), (65535, None, 65535), (8080, 9000, 9000), (8080, -1, -1)],
)
def test_port_of_grpc_is_the_one_after_unless_named(
    port: int, grpc_port: int | None, meant: int
) -> None:
    assert ServingConfig(port=port, grpc_port=grpc_port).grpc_port_meant == meant


SECRET = "not-to-be-shown-" * 3


def test_token_comes_from_the_environment_alone(tmp_path: Path) -> None:
    found = load_serving_config(file=None, flags={}, environment={"SIGHTLOOP_SERVE_TOKEN": SECRET})
    assert found.token is not None
    assert found.token.get_secret_value() == SECRET
    assert SECRET not in repr(found)
    file = tmp_path / "sightloop.toml"
    file.write_text(f'[serve]\ntoken = "{SECRET}"\n')
    with pytest.raises(ConfigError) as caught:
        load_serving_config(file=file, flags={}, environment={})
    assert caught.value.reason == "token_in_file"
    assert SECRET not in caught.value.message


@pytest.mark.parametrize("secret", ["", "short", "x" * 31])
def test_token_that_could_be_guessed_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(ConfigError, match=f"{len(secret)} characters") as caught:
        load_serving_config(file=None, flags={}, environment={"SIGHTLOOP_SERVE_TOKEN": secret})
    assert not secret or secret not in caught.value.message


def test_folders_of_bundles_are_read_from_a_variable_as_json() -> None:
    environment = {"SIGHTLOOP_SERVE_BUNDLE_FOLDERS": '["/a", "/b"]'}
    found = load_serving_config(file=None, flags={}, environment=environment)
    assert found.bundle_folders == ["/a", "/b"]
