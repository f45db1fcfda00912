"""The library as notebooks and the command line call it.

`luthier.NAME` is most of it under one name; what is here beyond that is what the commands are made of: the same work
in two steps, so that a price is known before anything is sent (`ComparisonSetup`, `FitSetup`, `plan_tuning`), and
reading the files a command names.
"""

from luthier.api.jobs import audit, compare_checkpoints, jobs, specs_of_job
from luthier.api.verbs import (
    check,
    compare,
    compare_tables,
    fit,
    limited,
    log,
    plan,
    preview,
    score,
    show_fit,
)
from luthier.auditing.audit_result import AuditResult
from luthier.auditing.job_audit import audit_chains, chains_of, jobs_of_sweep, plan_chains
from luthier.experiments.board import Board, Boards, SpecResult
from luthier.experiments.checking import check_specs
from luthier.experiments.compare import ComparisonSetup
from luthier.experiments.fits import FitSetup
from luthier.experiments.labelled_tables import table_names
from luthier.outputs import check_folder
from luthier.packaging.promotion import promote
from luthier.packaging.versions import check_names
from luthier.plans import Plan
from luthier.scoring.loading import load
from luthier.scoring.scored_model import Model
from luthier.spec import Spec
from luthier.tables import how_saved, read_table
from luthier.techniques import read_endpoint, read_endpoint_for, read_spec, read_specs, unmoved, why_unmoved
from luthier.tracking.stores import where_to_look
from luthier.tuning.job import Job
from luthier.tuning.job_list import lines_of
from luthier.tuning.tune import attach_job, look_at, tune, tune_planned, watch_job
from luthier.tuning.tuned_specs import TunedSpecFile
from luthier.tuning.tuning_plan import TuningPlan, plan_tuning

__all__ = [
    "AuditResult",
    "Board",
    "Boards",
    "ComparisonSetup",
    "FitSetup",
    "Job",
    "Model",
    "Plan",
    "Spec",
    "SpecResult",
    "TunedSpecFile",
    "TuningPlan",
    "attach_job",
    "audit",
    "audit_chains",
    "chains_of",
    "check",
    "check_folder",
    "check_names",
    "check_specs",
    "compare",
    "compare_checkpoints",
    "compare_tables",
    "fit",
    "how_saved",
    "jobs",
    "jobs_of_sweep",
    "limited",
    "lines_of",
    "load",
    "log",
    "look_at",
    "plan",
    "plan_chains",
    "plan_tuning",
    "preview",
    "promote",
    "read_endpoint",
    "read_endpoint_for",
    "read_spec",
    "read_specs",
    "read_table",
    "score",
    "show_fit",
    "specs_of_job",
    "table_names",
    "tune",
    "tune_planned",
    "unmoved",
    "watch_job",
    "where_to_look",
    "why_unmoved",
]
