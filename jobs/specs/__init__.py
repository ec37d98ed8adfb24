"""Benchmarks, one file per table or figure of the paper, and small ones."""
