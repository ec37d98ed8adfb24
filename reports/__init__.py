"""From rows to paper: tables."""
