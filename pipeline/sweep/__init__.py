"""Scheduling of runs; the only door to Ray."""
