"""Spans and fields of a text."""
