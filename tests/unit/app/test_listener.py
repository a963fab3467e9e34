from pathlib import Path

import pytest

from sightloop.app.listener import bundle_folders, door_rules, listen, resolved, tls_files
from sightloop.config.serving import ServingConfig
from sightloop.errors import ConfigError, PortInUseError
from sightloop.serving.doorkeeper import DoorRules

CONFIG = ServingConfig()
INSECURE = ServingConfig(insecure=True)
REACHABLE = ["0.0.0.0", "::", "192.168.1.7", "fe80::1%eth0"]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.9", "::1"])
def test_this_machine_alone_demands_nothing(address: str) -> None:
    rules = door_rules(CONFIG, address, encrypted=False, has_tokens=False)
    assert rules == DoorRules(admin_asks=False)


@pytest.mark.parametrize("address", REACHABLE)
@pytest.mark.parametrize("config", [CONFIG, INSECURE])
def test_address_that_others_reach_demands_a_token_always(
    address: str, config: ServingConfig
) -> None:
    with pytest.raises(ConfigError) as caught:
        door_rules(config, address, encrypted=True, has_tokens=False)
    assert caught.value.reason == "token_required"


@pytest.mark.parametrize("address", REACHABLE)
def test_address_that_others_reach_demands_tls_or_the_word_insecure(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        door_rules(CONFIG, address, encrypted=False, has_tokens=True)
    assert caught.value.reason == "tls_required"
    for config, encrypted in ((CONFIG, True), (INSECURE, False)):
        rules = door_rules(config, address, encrypted=encrypted, has_tokens=True)
        assert rules.admin_asks


def test_bundles_come_from_the_workspace_alone_where_others_can_order(tmp_path: Path) -> None:
    asks, open_ = DoorRules(admin_asks=True), DoorRules()
    assert bundle_folders(CONFIG, asks, tmp_path) == (tmp_path.resolve(),)
    assert bundle_folders(CONFIG, open_, tmp_path) is None
    named = ServingConfig(bundle_folders=[str(tmp_path / "a" / ".." / "b")])
    for rules in (asks, open_):
        assert bundle_folders(named, rules, tmp_path) == ((tmp_path / "b").resolve(),)


@pytest.mark.parametrize(
    ("certificate", "key"), [("missing.pem", "missing.key"), ("", "only.key"), ("only.pem", "")]
)
def test_certificate_that_cannot_be_used_is_said_at_the_start(certificate: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tls_files(ServingConfig(tls_cert=certificate, tls_key=key))
    assert caught.value.reason == "tls_invalid"
    assert tls_files(CONFIG) is None


def test_port_in_use_and_address_of_nobody_are_said() -> None:
    with listen(ServingConfig(port=0)) as first, pytest.raises(PortInUseError):
        listen(ServingConfig(port=first.getsockname()[1]))
    with pytest.raises(ConfigError) as caught:
        listen(ServingConfig(host="203.0.113.9", port=0))
    assert caught.value.reason == "address_invalid"


@pytest.mark.parametrize(
    ("host", "address"),
    [("localhost", "127.0.0.1"), ("127.1", "127.0.0.1"), ("", "0.0.0.0"), ("::1", "::1")],
)
def test_address_is_known_before_it_is_bound(host: str, address: str) -> None:
    assert resolved(ServingConfig(host=host)).host == address


def test_name_of_nobody_is_said() -> None:
    with pytest.raises(ConfigError) as caught:
        resolved(ServingConfig(host="nobody.invalid"))
    assert caught.value.reason == "address_invalid"
