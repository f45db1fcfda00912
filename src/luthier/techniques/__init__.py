"""How a row becomes a label: one file per technique, and the reader that finds it."""

from luthier.techniques.baseline import Baseline
from luthier.techniques.decision import Decision
from luthier.techniques.embedding import Embedding
from luthier.techniques.endpoint_files import endpoint_alone, read_endpoint, staying, stays
from luthier.techniques.finetune import FineTune
from luthier.techniques.prompt.prompt import Prompt
from luthier.techniques.registry import (
    TECHNIQUES,
    built,
    read_fitted,
    read_recipes,
    read_spec,
    read_specs,
)

__all__ = [
    "TECHNIQUES",
    "Baseline",
    "Decision",
    "Embedding",
    "FineTune",
    "Prompt",
    "built",
    "endpoint_alone",
    "read_endpoint",
    "read_fitted",
    "read_recipes",
    "read_spec",
    "read_specs",
    "staying",
    "stays",
]
