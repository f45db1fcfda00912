"""Closed sets of labels: one of them, or several."""
