"""From a labelled table of texts to the best LLM-based model for it, in production, on MLflow.

Everything here is imported when it is first used: `import luthier` itself loads nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_ROOMS = {
    "luthier.api": ["Board", "Model", "Winner", "check", "compare", "fit", "load", "log", "preview", "promote", "score"],
    "luthier.endpoints": ["Endpoint", "Engine", "Finding", "azure", "compatible", "embedded", "openai"],
    "luthier.errors": [
        "BudgetReached",
        "DataError",
        "EndpointError",
        "GateFailed",
        "Interrupted",
        "LuthierError",
        "MissingPart",
        "ModelError",
        "Partial",
        "QuotaError",
        "SpecError",
        "UserError",
    ],
    "luthier.spec": ["Fitted", "Spec"],
    "luthier.tables": ["read_table"],
    "luthier.task": ["Task"],
    "luthier.techniques": ["Baseline", "Prompt", "read_spec", "read_specs"],
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = sorted(["__version__", *_HOME])  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"luthier has no {name!r}; it has: {', '.join(__all__)}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
