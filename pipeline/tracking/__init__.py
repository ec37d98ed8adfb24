"""Views of a sweep in an experiment tracker; the only door to MLflow."""
