"""Specs on the same rows: fitted, answered, measured, kept in MLflow."""
