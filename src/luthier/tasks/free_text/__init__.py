"""Texts that a model writes, held against references."""
