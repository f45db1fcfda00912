"""Who serves a model: one file per provider behind one small Protocol."""

from luthier.providers.azure import Azure
from luthier.providers.base import Provider
from luthier.providers.compatible import Compatible
from luthier.providers.embedded import Embedded
from luthier.providers.openai import OpenAI

__all__ = ["PROVIDERS", "Provider"]

PROVIDERS: dict[str, Provider] = {
    "openai": OpenAI(),
    "azure": Azure(),
    "compatible": Compatible(),
    "local": Embedded(),
}
"""Every provider by the name it has in an endpoint."""
