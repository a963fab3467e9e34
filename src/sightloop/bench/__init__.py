"""Measurements that print each figure beside its bound."""
