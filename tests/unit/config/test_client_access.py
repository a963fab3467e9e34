from pathlib import Path

import pytest

from sightloop.config.client_access import read_client_access
from sightloop.errors import ConfigError

ENVIRONMENT = {"SIGHTLOOP_TOKEN": "from-environment", "SIGHTLOOP_CA_FILE": "/ca.pem"}


def test_token_comes_from_the_file_before_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n")
    assert read_client_access(file, None, ENVIRONMENT).token == "from-file"
    assert read_client_access(None, None, ENVIRONMENT).token == "from-environment"
    assert read_client_access(None, None, {}).token is None
    assert read_client_access(None, None, {"SIGHTLOOP_TOKEN": ""}).token is None


def test_authority_comes_from_the_flag_before_the_environment() -> None:
    assert read_client_access(None, Path("own.pem"), ENVIRONMENT).ca_file == Path("own.pem")
    assert read_client_access(None, None, ENVIRONMENT).ca_file == Path("/ca.pem")
    assert read_client_access(None, None, {}).ca_file is None


@pytest.mark.parametrize("data", [b"", b"two words", b"line\nline", b"\xff\xfe", "é".encode()])
def test_file_that_holds_no_token_is_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read_client_access(file, None, {})
    assert caught.value.reason == "token_file_unreadable"


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        read_client_access(tmp_path / "nowhere", None, {})


def test_token_is_in_no_representation() -> None:
    assert "from-environment" not in repr(read_client_access(None, None, ENVIRONMENT))
