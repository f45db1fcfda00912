"""Where models answer and how they are asked. Names are imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from luthier.endpoints.budget import Budget
    from luthier.endpoints.endpoint import Endpoint, Limits, Price, Resource, azure, compatible, embedded, openai
    from luthier.endpoints.engine import Engine, default_engine, engine_given
    from luthier.endpoints.estimates import Estimate
    from luthier.endpoints.exchange import Answer, Request, Usage
    from luthier.endpoints.flight import Progress
    from luthier.endpoints.inspection import Finding, check_endpoint
    from luthier.endpoints.interrupts import draining
    from luthier.endpoints.journal import Journal
    from luthier.endpoints.progress import TerminalProgress
    from luthier.endpoints.report import Report

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

_WHERE = {
    "Answer": "exchange",
    "Budget": "budget",
    "Endpoint": "endpoint",
    "Engine": "engine",
    "Estimate": "estimates",
    "Finding": "inspection",
    "Journal": "journal",
    "Limits": "endpoint",
    "Price": "endpoint",
    "Progress": "flight",
    "Report": "report",
    "Request": "exchange",
    "Resource": "endpoint",
    "TerminalProgress": "progress",
    "Usage": "exchange",
    "azure": "endpoint",
    "check_endpoint": "inspection",
    "compatible": "endpoint",
    "default_engine": "engine",
    "draining": "interrupts",
    "embedded": "endpoint",
    "engine_given": "engine",
    "openai": "endpoint",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
