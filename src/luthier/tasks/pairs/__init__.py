"""Pairs of texts with a score."""
