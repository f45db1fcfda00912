"""A release that answers HTTP: planned, started, supervised, updated and rolled back."""
