"""An account at a service: the models it is offered, now and when it was last asked, and its deployments."""

from __future__ import annotations

from luthier.accounts.configured import ConfiguredAccount, Refreshed, configured_endpoints, refresh_all, why_not_asked
from luthier.accounts.deployed import deployments, has_deployments
from luthier.accounts.kept_lists import KeptList, kept_lists, refresh
from luthier.accounts.offered import offered_models
from luthier.accounts.records import DeployedModel, Listed, OfferedModel

__all__ = [
    "ConfiguredAccount",
    "DeployedModel",
    "KeptList",
    "Listed",
    "OfferedModel",
    "Refreshed",
    "configured_endpoints",
    "deployments",
    "has_deployments",
    "kept_lists",
    "offered_models",
    "refresh",
    "refresh_all",
    "why_not_asked",
]
