"""How a row becomes a label: one file per technique, and the reader that finds it."""

from luthier.techniques.registry import TECHNIQUES, read_fitted, read_spec, read_specs

__all__ = ["TECHNIQUES", "read_fitted", "read_spec", "read_specs"]
