"""Who serves a model: one file per provider behind one small Protocol."""

from luthier.endpoints.providers.azure import Azure
from luthier.endpoints.providers.base import Provider
from luthier.endpoints.providers.compatible import Compatible
from luthier.endpoints.providers.embedded import Embedded
from luthier.endpoints.providers.openai import OpenAI

__all__ = ["PROVIDERS", "Provider"]

PROVIDERS: dict[str, Provider] = {
    "openai": OpenAI(),
    "azure": Azure(),
    "compatible": Compatible(),
    "local": Embedded(),
}
"""Every provider by the name it has in an endpoint."""
