"""Shipped test parts: tiny real detectors, camera and checker, contract kits."""
