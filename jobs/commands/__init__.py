"""The commands, one group per file; `jobs/cli.py` puts them together."""
