"""Who serves a model: a class for each provider that differs from the OpenAI protocol as `base.py` speaks it."""

from luthier.providers.azure import Azure
from luthier.providers.base import Provider
from luthier.providers.embedded import Embedded
from luthier.providers.fireworks import Fireworks
from luthier.providers.together import Together

__all__ = ["PROVIDERS", "Provider"]

PROVIDERS: dict[str, Provider] = {
    "openai": Provider(renames_max_tokens=True),
    "azure": Azure(),
    "together": Together(),
    "fireworks": Fireworks(),
    "vllm": Provider(),
    "compatible": Provider(),
    "local": Embedded(),
}
"""Every provider by the name it has in an endpoint."""
