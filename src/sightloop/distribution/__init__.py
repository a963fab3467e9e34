"""Where releases lie: the content-addressed store."""
