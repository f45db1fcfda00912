"""What asks models, under one name: `from luthier.endpoints import Engine, Journal, openai`.

The code is in `providers/`, `journal/` and `engine/`; a name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from luthier.engine.ask_options import Progress
    from luthier.engine.budget import Budget
    from luthier.engine.engine import Engine, default_engine, engine_given
    from luthier.engine.estimates import Estimate
    from luthier.engine.inspection import Finding, check_endpoint
    from luthier.engine.interrupts import draining
    from luthier.engine.options import RunOptions
    from luthier.engine.progress import TerminalProgress
    from luthier.engine.report import Report
    from luthier.journal.journal import Journal
    from luthier.providers.endpoint import Endpoint, Limits, Price, Resource, azure, compatible, embedded, openai
    from luthier.providers.exchange import Answer, Request, Usage

__all__ = [
    "Answer",
    "Budget",
    "Endpoint",
    "Engine",
    "Estimate",
    "Finding",
    "Journal",
    "Limits",
    "Price",
    "Progress",
    "Report",
    "Request",
    "Resource",
    "RunOptions",
    "TerminalProgress",
    "Usage",
    "azure",
    "check_endpoint",
    "compatible",
    "default_engine",
    "draining",
    "embedded",
    "engine_given",
    "openai",
]

_MODULE_OF = {
    "Answer": "luthier.providers.exchange",
    "Budget": "luthier.engine.budget",
    "Endpoint": "luthier.providers.endpoint",
    "Engine": "luthier.engine.engine",
    "Estimate": "luthier.engine.estimates",
    "Finding": "luthier.engine.inspection",
    "Journal": "luthier.journal.journal",
    "Limits": "luthier.providers.endpoint",
    "Price": "luthier.providers.endpoint",
    "Progress": "luthier.engine.ask_options",
    "Report": "luthier.engine.report",
    "Request": "luthier.providers.exchange",
    "Resource": "luthier.providers.endpoint",
    "RunOptions": "luthier.engine.options",
    "TerminalProgress": "luthier.engine.progress",
    "Usage": "luthier.providers.exchange",
    "azure": "luthier.providers.endpoint",
    "check_endpoint": "luthier.engine.inspection",
    "compatible": "luthier.providers.endpoint",
    "default_engine": "luthier.engine.engine",
    "draining": "luthier.engine.interrupts",
    "embedded": "luthier.providers.endpoint",
    "engine_given": "luthier.engine.engine",
    "openai": "luthier.providers.endpoint",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)
