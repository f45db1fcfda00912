"""What a technique is given and what it makes of it: the spec, and the spec fitted on training rows."""

from luthier.providers.exchange import Conversation
from luthier.spec.spec import FILES, SCHEMA, Fitted, GridPoint, JournalReplay, PlannedRequests, Probe, Spec

__all__ = [
    "FILES",
    "SCHEMA",
    "Conversation",
    "Fitted",
    "GridPoint",
    "JournalReplay",
    "PlannedRequests",
    "Probe",
    "Spec",
]
