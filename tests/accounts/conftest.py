"""An Azure account: its Resource Manager, with the embedded server behind its data plane."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from luthier.accounts.azure_control_plane import ControlPlane
from luthier.providers.endpoint import Endpoint, Resource
from luthier_local import LocalServer, ModelCard
from tests.conftest import KEY
from tests.tuning.azure_stand_in import ACCOUNT, GROUP, SUBSCRIPTION, AzureStandIn
from tests.tuning.conftest import Time

PLACE = Resource(subscription=SUBSCRIPTION, group=GROUP, account=ACCOUNT)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """The embedded server with two models; its key is in STARS_KEY."""
    monkeypatch.setenv("STARS_KEY", KEY)
    with LocalServer(models=[ModelCard("stars-model"), ModelCard("other-model")], api_key=KEY) as running:
        yield running


@pytest.fixture
def azure(server: LocalServer) -> Iterator[AzureStandIn]:
    with AzureStandIn(server.azure_url, KEY) as running:
        yield running


@pytest.fixture
def endpoint(azure: AzureStandIn) -> Endpoint:
    return Endpoint(provider="azure", base_url=azure.url, model="any", api_key_env="STARS_KEY", resource=PLACE)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def plane(azure: AzureStandIn, endpoint: Endpoint, time: Time) -> ControlPlane:
    return ControlPlane(endpoint, client=azure.arm_client(), wait=time.wait, clock=time.clock)
