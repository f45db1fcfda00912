"""Services that fine-tune: one file per protocol behind one small Protocol."""

from __future__ import annotations

from collections.abc import Callable

from luthier.errors import EndpointError
from luthier.providers.endpoint import Endpoint
from luthier.tuning.tuners.azure import AzureTuner
from luthier.tuning.tuners.fireworks import FireworksTuner
from luthier.tuning.tuners.gpu import GpuTuner
from luthier.tuning.tuners.openai import OpenAITuner
from luthier.tuning.tuners.together import TogetherTuner
from luthier.tuning.tuners.tuner import Tuner

__all__ = ["TUNERS", "Tuner", "tuner_for"]

TUNERS: dict[str, Callable[[Endpoint], Tuner]] = {
    "openai": OpenAITuner,
    "azure": AzureTuner,
    "together": TogetherTuner,
    "fireworks": FireworksTuner,
    "vllm": GpuTuner,
    "compatible": OpenAITuner,
    "local": OpenAITuner,
}
"""Who fine-tunes, by the provider of the endpoint."""


def tuner_for(endpoint: Endpoint) -> Tuner:
    """The service behind an endpoint.

    Raises:
        EndpointError: none of its kind is known to fine-tune.
    """
    if endpoint.provider not in TUNERS:
        raise EndpointError(f"provider {endpoint.provider} cannot fine-tune here; allowed: {', '.join(TUNERS)}.")
    return TUNERS[endpoint.provider](endpoint)
