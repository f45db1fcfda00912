"""One model under its many names: at OpenAI, as an Azure model or deployment, on hosts of open weights."""

from __future__ import annotations

from luthier.model_names.model_name import ModelName
from luthier.model_names.near import near_names
from luthier.model_names.parsing import parse_model_name, parse_tuned_name, served_as
from luthier.model_names.spellings import azure_format, printed

__all__ = [
    "ModelName",
    "azure_format",
    "near_names",
    "parse_model_name",
    "parse_tuned_name",
    "printed",
    "served_as",
]
