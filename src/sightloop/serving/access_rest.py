"""The door of a server over HTTP: takes token, address and origin out of a request."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from sightloop.errors import SightloopError
from sightloop.serving.access import Caller, Role, refuse_query
from sightloop.serving.doorkeeper import Doorkeeper

_BEARER: Final = HTTPBearer(
    auto_error=False, description="A token of `sightloop token create`, where one is asked for"
)
SAYS_BEARER: Final = Depends(_BEARER)
"""What OpenAPI says; the header itself is read here."""


def asks(keeper: Doorkeeper, needed: Role) -> Any:
    """A dependency of a route of the admin plane; gives the caller."""

    async def enter(request: Request, _: Any = SAYS_BEARER) -> Caller:
        return enter_admin(keeper, needed, request)

    return Depends(enter)


def enter_admin(keeper: Doorkeeper, needed: Role, request: Request) -> Caller:
    """Let a request to the admin plane in.

    Raises:
        RateLimitedError, UnauthenticatedError, ForbiddenError: It stays outside.
    """
    address = address_of(request)
    try:
        refuse_query(request.query_params)
        if needed is Role.OPERATE:
            headers = request.headers
            keeper.refuse_other_sites(headers.get("host"), headers.get("origin"))
    except SightloopError as error:
        keeper.refused("admin", error, address)
        raise
    return keeper.enter_admin(needed, request.headers.get("authorization"), address)


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
