"""Choosing a model on one's own rows: a shortlist within a budget, and what replaces a model that retires."""
