"""The embedded server: the OpenAI protocol on this machine; no account is needed.

It is plumbing to build and test against, not a model to judge quality by.
"""

from __future__ import annotations

from luthier_local.faults import Fault
from luthier_local.foreground import serve
from luthier_local.model_card import ModelCard
from luthier_local.server import LocalServer

__all__ = ["Fault", "LocalServer", "ModelCard", "serve"]
