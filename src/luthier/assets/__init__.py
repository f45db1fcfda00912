"""Weights and sample data: pinned packages fetched on first use, checked, cached, offline afterwards."""

from __future__ import annotations

from luthier.assets.fetch import Distribution, fetch, is_cached
from luthier.assets.weights import ensure_weights, weights_cached

__all__ = ["Distribution", "ensure_weights", "fetch", "is_cached", "weights_cached"]
