"""The library as notebooks and the command line call it.

`luthier.NAME` is most of it under one name; what is here beyond that is what the commands are made of: the same work
in two steps, so that a price is known before anything is sent (`ComparisonSetup`, `FitSetup`, `AssessmentSetup`,
`plan_tuning`), and
reading the files a command names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from luthier.on_demand import on_demand

if TYPE_CHECKING:
    from luthier.api.adopt_verbs import adopt as adopt
    from luthier.api.catalogue_verbs import ModelList as ModelList
    from luthier.api.catalogue_verbs import ModelSheet as ModelSheet
    from luthier.api.catalogue_verbs import catalogue as catalogue
    from luthier.api.catalogue_verbs import describe_model as describe_model
    from luthier.api.catalogue_verbs import refresh_catalogue as refresh_catalogue
    from luthier.api.deployment_verbs import deploy as deploy
    from luthier.api.import_verbs import account_endpoint as account_endpoint
    from luthier.api.import_verbs import import_from as import_from
    from luthier.api.improve_verbs import improve as improve
    from luthier.api.improve_verbs import writer_endpoint as writer_endpoint
    from luthier.api.job_verbs import audit as audit
    from luthier.api.job_verbs import compare_checkpoints as compare_checkpoints
    from luthier.api.job_verbs import specs_of_job as specs_of_job
    from luthier.api.judge_verbs import answers_to_judge as answers_to_judge
    from luthier.api.judge_verbs import check_table as check_table
    from luthier.api.judge_verbs import judge as judge
    from luthier.api.judge_verbs import write_judge as write_judge
    from luthier.api.judge_verbs import write_sheet as write_sheet
    from luthier.api.model_choice_verbs import rank_models as rank_models
    from luthier.api.model_choice_verbs import task_here as task_here
    from luthier.api.prompt_verbs import PromptList as PromptList
    from luthier.api.prompt_verbs import prompts as prompts
    from luthier.api.report_verbs import report as report
    from luthier.api.retiring_verbs import RetiringModels as RetiringModels
    from luthier.api.retiring_verbs import retiring as retiring
    from luthier.api.serving_verbs import serve as serve
    from luthier.api.spark_verbs import spark_scorer as spark_scorer
    from luthier.api.sweep_verbs import open_sweep as open_sweep
    from luthier.api.sweep_verbs import stop_sweep as stop_sweep
    from luthier.api.sweep_verbs import sweep as sweep
    from luthier.api.try_verbs import try_out as try_out
    from luthier.api.try_verbs import trying as trying
    from luthier.api.verbs import check as check
    from luthier.api.verbs import compare as compare
    from luthier.api.verbs import compare_tables as compare_tables
    from luthier.api.verbs import fit as fit
    from luthier.api.verbs import limited as limited
    from luthier.api.verbs import log as log
    from luthier.api.verbs import plan as plan
    from luthier.api.verbs import preview as preview
    from luthier.api.verbs import rai as rai
    from luthier.api.verbs import score as score
    from luthier.api.verbs import show_fit as show_fit
    from luthier.auditing.audit_result import AuditResult as AuditResult
    from luthier.auditing.job_audit import audit_chains as audit_chains
    from luthier.auditing.job_audit import chains_of as chains_of
    from luthier.auditing.job_audit import jobs_of_sweep as jobs_of_sweep
    from luthier.auditing.job_audit import plan_chains as plan_chains
    from luthier.deployments.deployment import Deployment as Deployment
    from luthier.deployments.deployment import deployment as deployment
    from luthier.deployments.deployment import deployments_table as deployments_table
    from luthier.deployments.deployment import keep_running as keep_running
    from luthier.deployments.deployment import list_deployments as list_deployments
    from luthier.deployments.deployment_setup import DeploymentResult as DeploymentResult
    from luthier.deployments.deployment_setup import DeploymentSetup as DeploymentSetup
    from luthier.deployments.deployment_setup import settings_of as settings_of
    from luthier.experiments.board import Board as Board
    from luthier.experiments.board import Boards as Boards
    from luthier.experiments.board import SpecResult as SpecResult
    from luthier.experiments.checking import check_specs as check_specs
    from luthier.experiments.compare import ComparisonSetup as ComparisonSetup
    from luthier.experiments.fits import FitSetup as FitSetup
    from luthier.experiments.labelled_tables import table_names as table_names
    from luthier.experiments.try_out import TryOut as TryOut
    from luthier.experiments.try_row import TriedRow as TriedRow
    from luthier.importing.adopted import adopt_spec as adopt_spec
    from luthier.importing.adopted import register_adopted as register_adopted
    from luthier.importing.adopted import spec_text as spec_text
    from luthier.importing.adopted import write_adopted as write_adopted
    from luthier.importing.import_report import ImportReport as ImportReport
    from luthier.importing.import_setup import ImportSetup as ImportSetup
    from luthier.improving.improve_setup import ImproveSetup as ImproveSetup
    from luthier.improving.improvement import Improvement as Improvement
    from luthier.improving.improvement import check_target as check_target
    from luthier.improving.improvement import improved_file as improved_file
    from luthier.judging.human_ratings import is_table_name as is_table_name
    from luthier.judging.judge_setup import JudgeSetup as JudgeSetup
    from luthier.judging.judgement import Judgement as Judgement
    from luthier.model_choice.askable import askable_places as askable_places
    from luthier.model_choice.models_to_try import specs_for_models as specs_for_models
    from luthier.model_choice.rank_setup import RankSetup as RankSetup
    from luthier.model_choice.replacement_report import ProposedReplacements as ProposedReplacements
    from luthier.model_choice.shortlist import Shortlist as Shortlist
    from luthier.model_choice.spec_models import specs_with_models as specs_with_models
    from luthier.outputs import check_folder as check_folder
    from luthier.packaging.loading import find_model as find_model
    from luthier.packaging.promotion import promote as promote
    from luthier.packaging.versions import check_names as check_names
    from luthier.plans import Plan as Plan
    from luthier.reporting.html import check_page as check_page
    from luthier.reporting.report_page import ReportPage as ReportPage
    from luthier.responsible_ai.assessment import AssessmentSetup as AssessmentSetup
    from luthier.responsible_ai.environment import IsolatedEnvironment as IsolatedEnvironment
    from luthier.responsible_ai.environment import can_be_made as can_be_made
    from luthier.responsible_ai.environment import fetch_notice as fetch_notice
    from luthier.responsible_ai.rai_report import RaiReport as RaiReport
    from luthier.scoring.batch import FileScore as FileScore
    from luthier.scoring.loading import load as load
    from luthier.scoring.scored_model import Model as Model
    from luthier.scoring.spark_job import SparkScore as SparkScore
    from luthier.scoring.submitted_scores import SubmittedScore as SubmittedScore
    from luthier.scoring.submitted_scores import forget_score as forget_score
    from luthier.scoring.submitted_scores import remember_score as remember_score
    from luthier.scoring.submitted_scores import submitted_scores as submitted_scores
    from luthier.serving.keys import KeyFile as KeyFile
    from luthier.serving.settings import ServerSettings as ServerSettings
    from luthier.spec import Spec as Spec
    from luthier.sweeps.settings import read_sweep as read_sweep
    from luthier.sweeps.sweep_plan import SweepPlan as SweepPlan
    from luthier.sweeps.sweep_result import Sweep as Sweep
    from luthier.sweeps.sweep_setup import SweepSetup as SweepSetup
    from luthier.tables import how_saved as how_saved
    from luthier.tables import is_standard as is_standard
    from luthier.tables import keep_standard_output as keep_standard_output
    from luthier.tables import read_table as read_table
    from luthier.techniques import read_endpoint as read_endpoint
    from luthier.techniques import read_endpoint_for as read_endpoint_for
    from luthier.techniques import read_spec as read_spec
    from luthier.techniques import read_specs as read_specs
    from luthier.techniques import unmoved as unmoved
    from luthier.techniques import why_unmoved as why_unmoved
    from luthier.tracking.stores import where_to_look as where_to_look
    from luthier.tuning.job import Job as Job
    from luthier.tuning.job_list import jobs as jobs
    from luthier.tuning.job_list import lines_of as lines_of
    from luthier.tuning.tune import attach_job as attach_job
    from luthier.tuning.tune import look_at as look_at
    from luthier.tuning.tune import tune as tune
    from luthier.tuning.tune import tune_planned as tune_planned
    from luthier.tuning.tune import watch_job as watch_job
    from luthier.tuning.tuned_specs import TunedSpecFile as TunedSpecFile
    from luthier.tuning.tuning_plan import TuningPlan as TuningPlan
    from luthier.tuning.tuning_plan import plan_tuning as plan_tuning

_NAMES_OF = {
    module: names.split()
    for module, names in {
        "luthier.api.adopt_verbs": "adopt",
        "luthier.api.catalogue_verbs": "ModelList ModelSheet catalogue describe_model refresh_catalogue",
        "luthier.api.deployment_verbs": "deploy",
        "luthier.api.import_verbs": "account_endpoint import_from",
        "luthier.api.improve_verbs": "improve writer_endpoint",
        "luthier.api.job_verbs": "audit compare_checkpoints specs_of_job",
        "luthier.api.judge_verbs": "answers_to_judge check_table judge write_judge write_sheet",
        "luthier.api.model_choice_verbs": "rank_models task_here",
        "luthier.api.prompt_verbs": "PromptList prompts",
        "luthier.api.report_verbs": "report",
        "luthier.api.retiring_verbs": "RetiringModels retiring",
        "luthier.api.serving_verbs": "serve",
        "luthier.api.spark_verbs": "spark_scorer",
        "luthier.api.sweep_verbs": "open_sweep stop_sweep sweep",
        "luthier.api.try_verbs": "try_out trying",
        "luthier.api.verbs": "check compare compare_tables fit limited log plan preview rai score show_fit",
        "luthier.auditing.audit_result": "AuditResult",
        "luthier.auditing.job_audit": "audit_chains chains_of jobs_of_sweep plan_chains",
        "luthier.deployments.deployment": "Deployment deployment deployments_table keep_running list_deployments",
        "luthier.deployments.deployment_setup": "DeploymentResult DeploymentSetup settings_of",
        "luthier.experiments.board": "Board Boards SpecResult",
        "luthier.experiments.checking": "check_specs",
        "luthier.experiments.compare": "ComparisonSetup",
        "luthier.experiments.fits": "FitSetup",
        "luthier.experiments.labelled_tables": "table_names",
        "luthier.experiments.try_out": "TryOut",
        "luthier.experiments.try_row": "TriedRow",
        "luthier.importing.adopted": "adopt_spec register_adopted spec_text write_adopted",
        "luthier.importing.import_setup": "ImportSetup",
        "luthier.importing.import_report": "ImportReport",
        "luthier.improving.improve_setup": "ImproveSetup",
        "luthier.improving.improvement": "Improvement check_target improved_file",
        "luthier.judging.human_ratings": "is_table_name",
        "luthier.judging.judge_setup": "JudgeSetup",
        "luthier.judging.judgement": "Judgement",
        "luthier.model_choice.askable": "askable_places",
        "luthier.model_choice.models_to_try": "specs_for_models",
        "luthier.model_choice.rank_setup": "RankSetup",
        "luthier.model_choice.shortlist": "Shortlist",
        "luthier.model_choice.spec_models": "specs_with_models",
        "luthier.outputs": "check_folder",
        "luthier.model_choice.replacement_report": "ProposedReplacements",
        "luthier.packaging.loading": "find_model",
        "luthier.packaging.promotion": "promote",
        "luthier.packaging.versions": "check_names",
        "luthier.plans": "Plan",
        "luthier.reporting.html": "check_page",
        "luthier.reporting.report_page": "ReportPage",
        "luthier.responsible_ai.assessment": "AssessmentSetup",
        "luthier.responsible_ai.environment": "IsolatedEnvironment can_be_made fetch_notice",
        "luthier.responsible_ai.rai_report": "RaiReport",
        "luthier.scoring.batch": "FileScore",
        "luthier.scoring.loading": "load",
        "luthier.scoring.scored_model": "Model",
        "luthier.scoring.spark_job": "SparkScore",
        "luthier.scoring.submitted_scores": "SubmittedScore forget_score remember_score submitted_scores",
        "luthier.serving.keys": "KeyFile",
        "luthier.serving.settings": "ServerSettings",
        "luthier.spec": "Spec",
        "luthier.sweeps.settings": "read_sweep",
        "luthier.sweeps.sweep_plan": "SweepPlan",
        "luthier.sweeps.sweep_result": "Sweep",
        "luthier.sweeps.sweep_setup": "SweepSetup",
        "luthier.tables": "how_saved is_standard keep_standard_output read_table",
        "luthier.techniques": "read_endpoint read_endpoint_for read_spec read_specs unmoved why_unmoved",
        "luthier.tracking.stores": "where_to_look",
        "luthier.tuning.job": "Job",
        "luthier.tuning.job_list": "jobs lines_of",
        "luthier.tuning.tune": "attach_job look_at tune tune_planned watch_job",
        "luthier.tuning.tuned_specs": "TunedSpecFile",
        "luthier.tuning.tuning_plan": "TuningPlan plan_tuning",
    }.items()
}

__all__ = sorted(name for names in _NAMES_OF.values() for name in names)
__getattr__ = on_demand(__name__, _NAMES_OF)
