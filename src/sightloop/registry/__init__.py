"""Tracking of runs and the model registry, behind two protocols; MLflow is one adapter."""
