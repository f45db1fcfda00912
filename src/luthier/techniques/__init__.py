"""How a row becomes a label: one file per technique, and the reader that finds it."""

from luthier.techniques.baseline import Baseline
from luthier.techniques.finetune import FineTune
from luthier.techniques.prompt import Prompt
from luthier.techniques.registry import TECHNIQUES, endpoint_alone, read_endpoint, read_fitted, read_spec, read_specs

__all__ = [
    "TECHNIQUES",
    "Baseline",
    "FineTune",
    "Prompt",
    "endpoint_alone",
    "read_endpoint",
    "read_fitted",
    "read_spec",
    "read_specs",
]
