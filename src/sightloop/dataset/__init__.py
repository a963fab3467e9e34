"""Datasets: reading, checking, splitting and versioning images with labels."""
