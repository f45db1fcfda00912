"""What asks models, under one name: `from luthier.endpoints import Engine, Journal, openai`.

The code is in `providers/`, `journal/` and `engine/`.
"""

from luthier.batches.cancelling import cancel_batch, open_batches
from luthier.engine.ask_options import Progress
from luthier.engine.budget import Budget
from luthier.engine.default_engine import default_engine, engine_given
from luthier.engine.engine import Engine
from luthier.engine.estimates import Estimate
from luthier.engine.inspection import Finding, check_endpoint
from luthier.engine.interrupts import draining
from luthier.engine.options import RunOptions
from luthier.engine.progress import TerminalProgress
from luthier.engine.report import Report
from luthier.journal.journal import Journal
from luthier.providers.endpoint import Endpoint, Limits, Price, Resource, azure, compatible, embedded, openai
from luthier.providers.exchange import Answer, Request, Usage
from luthier.providers.prices import dollars

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
    "cancel_batch",
    "check_endpoint",
    "compatible",
    "default_engine",
    "dollars",
    "draining",
    "embedded",
    "engine_given",
    "open_batches",
    "openai",
]
