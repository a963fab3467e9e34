"""The door of a server: what a call needs, who is let in, and what is said of those who are not.

REST and gRPC ask the same object. Where nobody is asked for a token, which a server does on this
machine alone, a browser is kept from carrying in another site's order. Knows no transport.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from sightloop.errors import ForbiddenError, RateLimitedError, SightloopError
from sightloop.serving.access import (
    Caller,
    Order,
    Role,
    Token,
    authorise,
    local_caller,
    stranger,
)
from sightloop.serving.rate_limit import RateLimit
from sightloop.telemetry.events import emit
from sightloop.telemetry.metrics import ServingMetrics

_REPORTS_PER_S: Final = 1.0
_NOBODY: Final = "?"
_LOCAL_NAMES: Final = frozenset({"localhost", ""})


@dataclass(frozen=True, slots=True)
class DoorRules:
    """Who is asked for a token.

    Attributes:
        admin_asks: Whether the admin plane asks even while there is no token: on every address
            that other machines can reach.
        data_asks: Whether the data plane asks too.
        metrics_open: Whether `/metrics` asks nobody.
    """

    admin_asks: bool = False
    data_asks: bool = False
    metrics_open: bool = False


class Doorkeeper:
    """Lets calls in or refuses them. One event loop."""

    def __init__(
        self,
        rules: DoorRules,
        *,
        tokens: Callable[[], tuple[Token, ...] | None],
        rate: RateLimit,
        metrics: ServingMetrics,
        note_order: Callable[[Order, Caller, str], None],
    ) -> None:
        """Open the door.

        Args:
            rules: Who is asked.
            tokens: All that are valid now; None: nobody has ever made one. Where the last one was
                revoked there is none that is valid, and nobody is let in.
            rate: How often a token's holder may call the admin plane, and an address in vain.
            metrics: Where refusals are counted.
            note_order: Told of each order that stays outside, who gave it, and the reason.
        """
        self.rules = rules
        self._tokens = tokens
        self._rate = rate
        self._said = RateLimit(_REPORTS_PER_S, clock=rate.clock)
        self._metrics = metrics
        self._note_order = note_order

    def enter_admin(
        self, needed: Role, header: str | None, address: str, order: Order | None = None
    ) -> Caller:
        """Let a call to the admin plane in; `order` is what it would do, if it is one.

        Raises:
            RateLimitedError, UnauthenticatedError, ForbiddenError: It stays outside.
        """
        try:
            caller = self._who(needed, header, address)
        except SightloopError as found:
            spared = self._rate.take(address)
            refusal = found if spared else _too_often(f"address {address}")
            self.refused("admin", refusal, address)
            self.order_refused(order, self._known(header, address), refusal)
            raise refusal from None
        # By token where there is one: a stranger behind the same proxy locks no operator out.
        key = address if not self.admin_is_asked else f"token {caller.name}"
        if not self._rate.take(key):
            refusal = _too_often(key)
            self.refused("admin", refusal, address)
            self.order_refused(order, caller, refusal)
            raise refusal
        return caller

    def _who(self, needed: Role, header: str | None, address: str) -> Caller:
        if not self.admin_is_asked:
            return local_caller(address)
        return authorise(header, needed, tokens=self._tokens() or (), address=address)

    def _known(self, header: str | None, address: str) -> Caller:
        """Who it is that may not do what they ask for."""
        try:
            return self._who(Role.DETECT, header, address)
        except SightloopError:
            return stranger(address)

    def enter_data(self, header: str | None, address: str) -> None:
        """Let a call to the data plane in; costs nothing where that asks nobody.

        Raises:
            UnauthenticatedError, ForbiddenError: It stays outside.
        """
        if not self.rules.data_asks:
            return
        try:
            authorise(header, Role.DETECT, tokens=self._tokens() or (), address=address)
        except SightloopError as error:
            self.refused("data", error, address)
            raise

    @property
    def admin_is_asked(self) -> bool:
        """Whether the admin plane asks for a token: also from the first one on."""
        return self.rules.admin_asks or self._tokens() is not None

    def refuse_other_sites(self, host: str | None, origin: str | None) -> None:
        """Keep a browser from carrying in an order of another site, where nobody is asked.

        Args:
            host: The header `Host`: what the caller thinks this server is called.
            origin: The header `Origin`: which site the browser shows.

        Raises:
            ForbiddenError: The name is none of this machine, or the site another one.
        """
        if self.admin_is_asked:
            return  # a browser sends no token by itself
        if not is_local_name(_host_name(host)):
            raise ForbiddenError(
                f"Host {host}: expected a name of this machine while the admin plane asks for no "
                "token; make one with `sightloop token create`, or call 127.0.0.1",
                "host_unknown",
            )
        if origin is not None and _site_of(origin) != host:
            raise ForbiddenError(
                f"Origin {origin}: expected no order from another site's page",
                "other_site",
            )

    def order_refused(self, order: Order | None, caller: Caller, error: SightloopError) -> None:
        """Have it written down, if the call was one."""
        if order is not None:
            self._note_order(order, caller, error.reason)

    def refused(self, plane: str, error: SightloopError, address: str) -> None:
        """Count a call that stays outside, and report it unless its address has many."""
        self._metrics.refused.labels(plane, error.reason).inc()
        if self._said.take(address):
            emit("access_refused", plane=plane, reason=error.reason, address=address)


def _too_often(who: str) -> SightloopError:
    return RateLimitedError(
        f"{who}: expected fewer calls to the admin plane; call slower or raise "
        "serve.admin_calls_per_s"
    )


def _host_name(host: str | None) -> str:
    """The name in a header `Host`; a header that cannot be read names nobody here."""
    try:
        return urlsplit(f"//{host or ''}").hostname or ""
    except ValueError:
        return _NOBODY


def _site_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def is_local_name(name: str) -> bool:
    """Whether a host's name or address can only mean this very machine."""
    if name.lower() in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
