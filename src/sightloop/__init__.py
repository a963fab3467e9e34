"""Sightloop keeps object detectors in production current.

Nothing inside the package imports from this root; it carries the version alone.
"""

from importlib.metadata import version

__version__ = version("sightloop")
