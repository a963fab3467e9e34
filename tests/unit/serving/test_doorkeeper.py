import pytest

from sightloop.errors import ForbiddenError, RateLimitedError, UnauthenticatedError
from sightloop.serving.access import Role, new_secret, token_of
from sightloop.serving.doorkeeper import DoorRules, is_local_name
from sightloop.telemetry.events import set_sink
from sightloop.telemetry.metrics import ServingMetrics
from sightloop.testing.scripted_door import door_of

SECRET = new_secret()
TOKEN = token_of(SECRET, name="ops", role=Role.OPERATE, made_at="now")
ASKS = DoorRules(admin_asks=True, data_asks=True)
HERE = "127.0.0.1"


def test_on_this_machine_alone_nobody_is_asked() -> None:
    caller = door_of().enter_admin(Role.OPERATE, None, HERE)
    assert (caller.name, caller.role, caller.address) == ("local", Role.OPERATE, HERE)
    door_of().enter_data(None, HERE)


def test_as_soon_as_there_is_a_token_the_admin_plane_asks() -> None:
    door = door_of(tokens=(TOKEN,))
    with pytest.raises(UnauthenticatedError):
        door.enter_admin(Role.READ, None, HERE)
    assert door.enter_admin(Role.READ, f"Bearer {SECRET}", HERE).name == "ops"
    door.enter_data(None, HERE)


def test_door_does_not_open_again_when_the_last_token_is_revoked() -> None:
    with pytest.raises(UnauthenticatedError):
        door_of(tokens=()).enter_admin(Role.READ, None, HERE)


def test_door_that_asks_lets_nobody_in_while_there_is_no_token() -> None:
    door = door_of(rules=ASKS)
    with pytest.raises(UnauthenticatedError):
        door.enter_admin(Role.READ, f"Bearer {SECRET}", HERE)
    with pytest.raises(UnauthenticatedError):
        door.enter_data(f"Bearer {SECRET}", HERE)


def test_calls_in_vain_beyond_the_rate_are_refused_and_lock_no_operator_out() -> None:
    door = door_of(rules=ASKS, tokens=(TOKEN,), calls_per_s=1)
    for _ in range(2):
        with pytest.raises(UnauthenticatedError):
            door.enter_admin(Role.READ, "Bearer guess", HERE)
    with pytest.raises(RateLimitedError):
        door.enter_admin(Role.READ, "Bearer guess", HERE)
    assert door.enter_admin(Role.READ, f"Bearer {SECRET}", HERE).name == "ops"


def test_holder_of_a_token_calls_no_faster_than_the_rate() -> None:
    door = door_of(rules=ASKS, tokens=(TOKEN,), calls_per_s=1)
    for _ in range(2):
        door.enter_admin(Role.READ, f"Bearer {SECRET}", HERE)
    with pytest.raises(RateLimitedError, match="token ops"):
        door.enter_admin(Role.READ, f"Bearer {SECRET}", "10.0.0.9")


def test_many_refusals_of_one_address_are_counted_and_not_all_reported() -> None:
    metrics = ServingMetrics()
    door = door_of(metrics, rules=ASKS, tokens=(TOKEN,), calls_per_s=1000)
    said: list[object] = []
    set_sink(said.append)
    try:
        for _ in range(100):
            with pytest.raises(UnauthenticatedError):
                door.enter_admin(Role.READ, None, HERE)
    finally:
        set_sink(None)
    assert len(said) < 10
    assert 'reason="token_missing"} 100.0' in metrics.as_text().decode()


@pytest.mark.parametrize(("host", "origin"), [("[", None), ("127.0.0.1:1", "http://[")])
def test_header_that_cannot_be_read_is_refused(host: str, origin: str | None) -> None:
    with pytest.raises(ForbiddenError):
        door_of().refuse_other_sites(host, origin)


def test_refusals_are_counted_by_plane_and_reason() -> None:
    metrics = ServingMetrics()
    door = door_of(metrics, rules=ASKS, tokens=(TOKEN,))
    with pytest.raises(UnauthenticatedError):
        door.enter_admin(Role.READ, None, HERE)
    with pytest.raises(UnauthenticatedError):
        door.enter_data("Bearer x", HERE)
    text = metrics.as_text().decode()
    assert 'sightloop_refused_total{plane="admin",reason="token_missing"} 1.0' in text
    assert 'sightloop_refused_total{plane="data",reason="token_unknown"} 1.0' in text


@pytest.mark.parametrize(
    ("host", "origin", "reason"),
    [
        ("127.0.0.1:8080", "http://evil.example", "other_site"),
        ("localhost:8080", "http://localhost:3000", "other_site"),
        ("127.0.0.1:8080", "null", "other_site"),
        ("evil.example:8080", None, "host_unknown"),
        ("evil.example:8080", "http://evil.example:8080", "host_unknown"),
        ("192.168.1.7:8080", None, "host_unknown"),
    ],
)
def test_page_of_another_site_cannot_order_where_nobody_is_asked(
    host: str, origin: str | None, reason: str
) -> None:
    with pytest.raises(ForbiddenError) as caught:
        door_of().refuse_other_sites(host, origin)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8080", None),
        ("[::1]:8080", None),
        ("localhost", None),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        (None, None),
    ],
)
def test_own_pages_and_tools_can(host: str | None, origin: str | None) -> None:
    door_of().refuse_other_sites(host, origin)


def test_where_a_token_is_asked_for_any_name_will_do() -> None:
    door_of(tokens=(TOKEN,)).refuse_other_sites("inspection.example", "https://board.example")


@pytest.mark.parametrize(
    ("name", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),
        ("localhost.example", False),
        ("10.0.0.1", False),
    ],
)
def test_names_that_can_only_mean_this_machine_are_known(name: str, local: bool) -> None:
    assert is_local_name(name) is local
