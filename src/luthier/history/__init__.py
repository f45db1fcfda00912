"""Past work, read back from the runs that MLflow keeps: what was measured, when, and what it cost."""
