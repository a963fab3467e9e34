"""Composition root: puts the parts of a server together and runs it."""
