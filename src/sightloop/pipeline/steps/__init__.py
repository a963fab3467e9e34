"""The engine-free steps, one command each."""
