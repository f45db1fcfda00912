"""One model under its many names: at OpenAI, as an Azure model or deployment, on hosts of open weights."""

from __future__ import annotations

from luthier.model_names.model_name import ModelName
from luthier.model_names.parsing import parse_model_name

__all__ = ["ModelName", "parse_model_name"]
