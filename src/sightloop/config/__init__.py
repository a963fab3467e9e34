"""The frozen settings of each process, resolved once."""
