"""An account at a service: the models it is offered, and its deployments."""

from __future__ import annotations

from luthier.accounts.deployed import deployments, has_deployments
from luthier.accounts.offered import offered_models
from luthier.accounts.records import DeployedModel, Listed, OfferedModel

__all__ = ["DeployedModel", "Listed", "OfferedModel", "deployments", "has_deployments", "offered_models"]
