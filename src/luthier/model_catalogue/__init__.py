"""What is known of models, offline, each fact with its source: tasks, prices, limits, fine-tuning, retirement."""

from __future__ import annotations

from luthier.model_catalogue.catalogue import ASKED, Catalogue, catalogue_models
from luthier.model_catalogue.choosing import Chosen, ModelFilter
from luthier.model_catalogue.facts import FACTS, TASKS, fact_text
from luthier.model_catalogue.records import CatalogueModel, Fact
from luthier.model_catalogue.statements import CatalogueFileError, Statement

__all__ = [
    "ASKED",
    "FACTS",
    "TASKS",
    "Catalogue",
    "CatalogueFileError",
    "CatalogueModel",
    "Chosen",
    "Fact",
    "ModelFilter",
    "Statement",
    "catalogue_models",
    "fact_text",
]
