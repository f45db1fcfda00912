"""What is known of models, offline, each fact with its source: tasks, prices, limits, fine-tuning, retirement."""

from __future__ import annotations

from luthier.catalogue.catalogue import ASKED, Catalogue, catalogue_models
from luthier.catalogue.choosing import Chosen, Filter
from luthier.catalogue.facts import FACTS, TASKS, fact_text
from luthier.catalogue.records import CatalogueModel, Fact
from luthier.catalogue.statements import CatalogueFileError, Statement

__all__ = [
    "ASKED",
    "FACTS",
    "TASKS",
    "Catalogue",
    "CatalogueFileError",
    "CatalogueModel",
    "Chosen",
    "Fact",
    "Filter",
    "Statement",
    "catalogue_models",
    "fact_text",
]
