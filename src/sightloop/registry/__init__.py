"""Tracking of runs and registry of releases, behind two protocols."""
