"""The door of a server over HTTP: takes token, address and origin out of a request."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from sightloop.errors import SightloopError
from sightloop.serving.access import Caller, Order, Role, refuse_query, stranger
from sightloop.serving.doorkeeper import Doorkeeper

_BEARER: Final = HTTPBearer(
    auto_error=False, description="A token of `sightloop token create`, where one is asked for"
)
SAYS_BEARER: Final = Depends(_BEARER)
"""What OpenAPI says; the header itself is read here."""


def asks(keeper: Doorkeeper, action: str | None = None) -> Any:
    """A dependency of a route of the admin plane; gives the caller.

    Args:
        keeper: Whom to ask.
        action: What an order of this route does, to the line or model in its path; None: it looks.
    """

    async def enter(request: Request, _: Any = SAYS_BEARER) -> Caller:
        named = request.path_params
        line = str(named.get("line") or named.get("model") or "")
        return _enter_admin(keeper, request, None if action is None else Order(action, line))

    return Depends(enter)


def _enter_admin(keeper: Doorkeeper, request: Request, order: Order | None) -> Caller:
    """Let a request to the admin plane in.

    Raises:
        RateLimitedError, UnauthenticatedError, ForbiddenError: It stays outside.
    """
    address = address_of(request)
    try:
        refuse_query(request.query_params)
        if order is not None:
            headers = request.headers
            keeper.refuse_other_sites(headers.get("host"), headers.get("origin"))
    except SightloopError as error:
        keeper.refused("admin", error, address)
        keeper.order_refused(order, stranger(address), error)
        raise
    needed = Role.READ if order is None else Role.OPERATE
    return keeper.enter_admin(needed, request.headers.get("authorization"), address, order)


def enter_data(keeper: Doorkeeper, request: Request) -> None:
    """Let a request to the data plane in; costs nothing where that asks nobody.

    Raises:
        UnauthenticatedError, ForbiddenError: It stays outside.
    """
    if keeper.rules.data_asks:
        keeper.enter_data(request.headers.get("authorization"), address_of(request))


def address_of(request: Request) -> str:
    """Where a request comes from; a proxy's word is not taken for it."""
    return request.client.host if request.client is not None else "unknown"
