"""A running server: front, workers, slot, history, data plane and admin plane."""
