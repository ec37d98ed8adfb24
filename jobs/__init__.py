"""Which runs, and the command line."""
