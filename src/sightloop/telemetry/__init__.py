"""Metric names with units and labels, and log events."""
