"""How a row becomes a label: one file per technique, and the reader that finds it."""

from luthier.techniques.baseline import Baseline
from luthier.techniques.decision import Decision
from luthier.techniques.embedding import Embedding
from luthier.techniques.endpoint_files import read_endpoint, read_endpoint_for, unmoved, why_unmoved
from luthier.techniques.finetune import FineTune
from luthier.techniques.fitted_folder import read_fitted
from luthier.techniques.prompt.prompt import Prompt
from luthier.techniques.registry import TECHNIQUES, read_spec, read_specs

__all__ = [
    "TECHNIQUES",
    "Baseline",
    "Decision",
    "Embedding",
    "FineTune",
    "Prompt",
    "read_endpoint_for",
    "read_endpoint",
    "read_fitted",
    "read_spec",
    "read_specs",
    "unmoved",
    "why_unmoved",
]
