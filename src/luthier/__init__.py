"""From a labelled table of texts to the best LLM-based model for it, in production, on MLflow.

Everything here is imported when it is first used: `import luthier` itself loads nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from luthier.on_demand import on_demand

__version__ = "0.1.0"

if TYPE_CHECKING:
    from luthier.api import Board as Board
    from luthier.api import Boards as Boards
    from luthier.api import Deployment as Deployment
    from luthier.api import ImportReport as ImportReport
    from luthier.api import Improvement as Improvement
    from luthier.api import Job as Job
    from luthier.api import Judgement as Judgement
    from luthier.api import Model as Model
    from luthier.api import ModelList as ModelList
    from luthier.api import ModelSheet as ModelSheet
    from luthier.api import Plan as Plan
    from luthier.api import PromptList as PromptList
    from luthier.api import RaiReport as RaiReport
    from luthier.api import ReportPage as ReportPage
    from luthier.api import RetiringModels as RetiringModels
    from luthier.api import ServerSettings as ServerSettings
    from luthier.api import SpecResult as SpecResult
    from luthier.api import Sweep as Sweep
    from luthier.api import TryOut as TryOut
    from luthier.api import adopt as adopt
    from luthier.api import attach_job as attach_job
    from luthier.api import audit as audit
    from luthier.api import catalogue as catalogue
    from luthier.api import check as check
    from luthier.api import compare as compare
    from luthier.api import compare_checkpoints as compare_checkpoints
    from luthier.api import compare_tables as compare_tables
    from luthier.api import deploy as deploy
    from luthier.api import deployment as deployment
    from luthier.api import describe_model as describe_model
    from luthier.api import fit as fit
    from luthier.api import import_from as import_from
    from luthier.api import improve as improve
    from luthier.api import judge as judge
    from luthier.api import list_deployments as list_deployments
    from luthier.api import load as load
    from luthier.api import log as log
    from luthier.api import open_sweep as open_sweep
    from luthier.api import plan as plan
    from luthier.api import preview as preview
    from luthier.api import promote as promote
    from luthier.api import prompts as prompts
    from luthier.api import rai as rai
    from luthier.api import rank_models as rank_models
    from luthier.api import refresh_catalogue as refresh_catalogue
    from luthier.api import report as report
    from luthier.api import retiring as retiring
    from luthier.api import score as score
    from luthier.api import spark_scorer as spark_scorer
    from luthier.api import stop_sweep as stop_sweep
    from luthier.api import sweep as sweep
    from luthier.api import try_out as try_out
    from luthier.api import tune as tune
    from luthier.endpoints import Endpoint as Endpoint
    from luthier.endpoints import Engine as Engine
    from luthier.endpoints import Finding as Finding
    from luthier.endpoints import azure as azure
    from luthier.endpoints import compatible as compatible
    from luthier.endpoints import embedded as embedded
    from luthier.endpoints import openai as openai
    from luthier.errors import BudgetReached as BudgetReached
    from luthier.errors import DataError as DataError
    from luthier.errors import EndpointError as EndpointError
    from luthier.errors import GateFailed as GateFailed
    from luthier.errors import Interrupted as Interrupted
    from luthier.errors import LuthierError as LuthierError
    from luthier.errors import MissingPart as MissingPart
    from luthier.errors import ModelError as ModelError
    from luthier.errors import Partial as Partial
    from luthier.errors import QuotaError as QuotaError
    from luthier.errors import SpecError as SpecError
    from luthier.errors import UnusableAnswers as UnusableAnswers
    from luthier.errors import UserError as UserError
    from luthier.spec import Fitted as Fitted
    from luthier.spec import Spec as Spec
    from luthier.tables import read_table as read_table
    from luthier.tasks.task import Task as Task
    from luthier.techniques import Baseline as Baseline
    from luthier.techniques import Decision as Decision
    from luthier.techniques import Embedding as Embedding
    from luthier.techniques import FineTune as FineTune
    from luthier.techniques import Prompt as Prompt
    from luthier.techniques import read_spec as read_spec
    from luthier.techniques import read_specs as read_specs
    from luthier.techniques.registry import grid as grid

_ROOMS = {
    room: names.split()
    for room, names in {
        "luthier.api": "Board Boards Deployment ImportReport Improvement Job Judgement Model ModelList ModelSheet "
        "Plan PromptList RaiReport ReportPage RetiringModels ServerSettings SpecResult Sweep TryOut adopt "
        "attach_job audit catalogue check compare compare_checkpoints compare_tables deploy deployment describe_model "
        "fit import_from improve judge list_deployments load log open_sweep plan preview promote prompts rai "
        "rank_models refresh_catalogue report retiring score spark_scorer stop_sweep sweep try_out tune",
        "luthier.endpoints": "Endpoint Engine Finding azure compatible embedded openai",
        "luthier.errors": "BudgetReached DataError EndpointError GateFailed Interrupted LuthierError MissingPart "
        "ModelError Partial QuotaError SpecError UnusableAnswers UserError",
        "luthier.spec": "Fitted Spec",
        "luthier.tables": "read_table",
        "luthier.tasks.task": "Task",
        "luthier.techniques": "Baseline Decision Embedding FineTune Prompt read_spec read_specs",
        "luthier.techniques.registry": "grid",
    }.items()
}

__all__ = sorted(["__version__", *(name for names in _ROOMS.values() for name in names)])
__getattr__ = on_demand(__name__, _ROOMS)


def __dir__() -> list[str]:
    return __all__
