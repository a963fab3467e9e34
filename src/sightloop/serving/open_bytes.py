"""How many bytes the bodies of all open requests may take, from the reading to the answer.

Half of it is parted evenly among the requests that may be open, and a body within its part is never
refused for what others send: a few who send large bodies slowly keep out other large bodies, and no
frame of a usual size. What a body is beyond its part comes out of the other half, as soon as its
size is known. A body within its part costs a comparison.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Self

from sightloop.errors import TooManyBytesError


class OpenBytes:
    """The bound of one server. One event loop.

    Attributes:
        part_bytes: What each body may take whatever the others do.
    """

    def __init__(
        self,
        limit_bytes: int,
        *,
        requests_max: int,
        refused: Callable[[TooManyBytesError], None],
    ) -> None:
        """Allow `limit_bytes` in all.

        Args:
            limit_bytes: Of all bodies together.
            requests_max: How many requests may be open.
            refused: Told of each body for which there is no room.
        """
        self.part_bytes = limit_bytes // 2 // requests_max
        self._limit_bytes = limit_bytes
        self._beyond_max_bytes = limit_bytes - self.part_bytes * requests_max
        self._beyond_bytes = 0
        self._refused = refused

    @classmethod
    def unbounded(cls) -> Self:
        """Room for everything."""
        return cls(sys.maxsize, requests_max=1, refused=lambda error: None)

    @property
    def beyond_bytes(self) -> int:
        """What all bodies take beyond their parts."""
        return self._beyond_bytes

    def share(self) -> Share:
        """What one request takes; nothing yet."""
        return Share(self)

    def change(self, held_bytes: int, wanted_bytes: int) -> None:
        """One body's bytes beyond its part become `wanted_bytes`.

        A body that is alone may take more than there is: no setting refuses it for ever.

        Raises:
            TooManyBytesError: The others leave no room for it.
        """
        others = self._beyond_bytes - held_bytes
        if others and wanted_bytes > held_bytes and others + wanted_bytes > self._beyond_max_bytes:
            raise self._no_room(wanted_bytes)
        self._beyond_bytes = others + wanted_bytes

    def _no_room(self, wanted_bytes: int) -> TooManyBytesError:
        """Count a refusal.

        A function of its own: an error that the frame which raises it has a name for is a cycle,
        and would keep the parts of the body until they are collected.
        """
        error = TooManyBytesError(
            f"request body: expected all that are open to take at most {self._limit_bytes} "
            f"bytes, found no room for one of {self.part_bytes + wanted_bytes}; send slower, "
            "smaller images, or raise serve.open_bytes_max"
        )
        self._refused(error)
        return error


class Share:
    """What one request takes; given back when its context ends, however it ends."""

    __slots__ = ("_beyond_bytes", "_of")

    def __init__(self, of: OpenBytes) -> None:
        self._of = of
        self._beyond_bytes = 0

    @property
    def takes_from_others(self) -> bool:
        """Whether the body is larger than its part."""
        return self._beyond_bytes > 0

    def hold(self, size_bytes: int) -> None:
        """Take a body of this size, or of a size that it has by now; never less than before.

        Raises:
            TooManyBytesError: There is no room for it.
        """
        beyond = size_bytes - self._of.part_bytes
        if beyond > self._beyond_bytes:
            self._of.change(self._beyond_bytes, beyond)
            self._beyond_bytes = beyond

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._beyond_bytes:
            self._of.change(self._beyond_bytes, 0)
            self._beyond_bytes = 0
