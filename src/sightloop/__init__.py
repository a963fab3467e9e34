"""Sightloop keeps object detectors in production current.

The root is for users: the version, and `Detector`, imported when it is first asked for, so that
`import sightloop` stays light. Nothing inside the package imports from here.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightloop.serving.embedded import Detector

__all__ = ["Detector", "__version__"]
__version__ = version("sightloop")


def __getattr__(name: str) -> object:
    if name == "Detector":
        from sightloop.serving.embedded import Detector

        return Detector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
