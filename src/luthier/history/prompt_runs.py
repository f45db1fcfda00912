"""Runs that measured a prompt, as MLflow has them: which wording each asked, and what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from luthier.documents import parse_yaml
from luthier.errors import UserError
from luthier.evaluation.resampling import Interval
from luthier.history.runs import LoggedRun
from luthier.spec import Spec
from luthier.techniques import Decision, Prompt
from luthier.techniques.registry import parse_spec
from luthier.techniques.wordings import digest_of_wording, wording_of
from luthier.tracking.runs import FITTED, TAGS, tag_of

__all__ = ["COST", "PromptFigure", "PromptRun", "kept_spec", "prompt_runs"]

NOT_MEASURED = frozenset({"compare", "improve", "sweep", "trial", "tune", "log", "deploy", "import", "audit"})
"""Kinds of runs that measure no prompt by themselves: their parts do, or nothing does."""

TECHNIQUES = ("prompt", "decision")

MOST_TRIED = 3
"""Runs of a spec whose files are looked for, until one has them."""

COST = "cost_per_1000_rows_usd"


@dataclass(frozen=True, slots=True)
class PromptFigure:
    """What a wording reached on some labelled rows, asked of one model.

    Attributes:
        test_digest: equal digests mean the same labelled rows.
        table: what the rows are called.
        rows: how many were evaluated; fewer than the table has where a race stopped early.
        model: name of the model that answered.
        spec: name under which it was measured.
        metrics: every metric with its interval.
        when: Unix time of its start.
        run_id: MLflow's id of the run.
        partial: whether rows have no answer for a reason that may pass.
        spent_usd: what its answers cost then; 0 where the journal had them, `None` where that is not known.
        price_usd: what the same answers cost when they were first asked; `None` where that is not known.
        is_choice: whether a search chose among prompts by it, as `luthier improve` does on training rows.
    """

    test_digest: str
    table: str
    rows: int | None
    model: str
    spec: str
    metrics: Mapping[str, Interval] = field(repr=False)
    when: float
    run_id: str
    partial: bool = False
    spent_usd: float | None = None
    price_usd: float | None = None
    is_choice: bool = False

    @property
    def rows_key(self) -> tuple[str, int | None]:
        """Figures with the same key are on the same rows, and can be compared."""
        return self.test_digest, self.rows


@dataclass(frozen=True, slots=True)
class PromptRun:
    """A run that asked a wording.

    Attributes:
        digest: of the wording.
        wording: what it says.
        run: as MLflow has it.
        figure: what it measured; `None` of a run without labelled rows, such as a fit or a score.
    """

    digest: str
    wording: Mapping[str, Any]
    run: LoggedRun
    figure: PromptFigure | None


def prompt_runs(runs: Sequence[LoggedRun]) -> tuple[tuple[PromptRun, ...], tuple[LoggedRun, ...]]:
    """Of the runs of a task those that asked a prompt, the oldest first, and those whose wording cannot be read.

    Runs are tagged with the wording. Runs from before that, and those of wordings that are too long for a tag, keep it
    in the file of their spec, which is read once for each spec.

    Args:
        runs: every run of the task.
    """
    asked = [run for run in sorted(runs, key=lambda one: (one.started, one.run_id)) if _asks_prompt(run)]
    known = _wordings(asked)
    parents = {run.run_id: run for run in runs}
    found, unread = [], []
    for run in asked:
        key = _key(run)
        wording = known.get(key)
        if wording is None:
            unread.append(run)
        else:
            above = parents.get(run.parent or "")
            found.append(PromptRun(digest_of_wording(wording), wording, run, _figure(run, above)))
    return tuple(found), tuple(unread)


def kept_spec(run: LoggedRun) -> Spec | None:
    """The spec that a run keeps as a file; `None` where the file is not there or no spec of this Luthier."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        document = parse_yaml(mlflow.artifacts.load_text(f"runs:/{run.run_id}/{FITTED}/spec.yaml"))
        # A task that is a path would name a file of this machine.
        holds_task = isinstance(document, dict) and isinstance(document.get("task"), dict)
        return parse_spec(document, f"the spec of run {run.run_id}", Path()) if holds_task else None
    except (MlflowException, OSError, UserError, ValueError, yaml.YAMLError):
        # Deleted, interrupted before it was written, or written by a later Luthier: the caller says how many there are.
        return None


def _asks_prompt(run: LoggedRun) -> bool:
    tagged = "prompt_digest" in run.tags or TAGS["prompt_digest"] in run.tags
    return run.kind not in NOT_MEASURED and (tagged or tag_of(run.tags, "technique") in TECHNIQUES)


def _key(run: LoggedRun) -> str:
    """What runs of one wording share: its digest; before there was one, the digest of the spec."""
    return tag_of(run.tags, "prompt_digest") or tag_of(run.tags, "spec_digest") or run.run_id


def _wordings(runs: Sequence[LoggedRun]) -> dict[str, Mapping[str, Any]]:
    """The wordings of these runs by their keys, from tags as far as they go, else from files."""
    found: dict[str, Mapping[str, Any]] = {}
    lacking: dict[str, list[LoggedRun]] = {}
    for run in runs:
        key, text = _key(run), tag_of(run.tags, "prompt_wording")
        if key in found:
            continue
        wording = None if text is None else _read_wording(text)
        # A store that cuts long tags leaves one that does not fit its digest.
        if wording is not None and digest_of_wording(wording) == key:
            found[key] = wording
        else:
            lacking.setdefault(key, []).append(run)
    for key, some in lacking.items():
        if key in found:
            continue
        for run in [one for one in reversed(some) if one.kind != "rai"][:MOST_TRIED]:
            spec = kept_spec(run)
            kept = wording_of(spec) if isinstance(spec, Prompt | Decision) else None
            if kept is not None:
                found[key] = kept
                break
    return found


def _read_wording(text: str) -> Mapping[str, Any] | None:
    try:
        wording = json.loads(text)
    except json.JSONDecodeError:
        return None
    return wording if isinstance(wording, dict) else None


def _figure(run: LoggedRun, parent: LoggedRun | None) -> PromptFigure | None:
    rows = run.metrics.get("rows_evaluated")
    if run.test_digest is None or rows is None:
        return None
    price = run.figures.get(COST)
    named = run.params.get("test") or (None if parent is None else parent.params.get("test"))
    return PromptFigure(
        test_digest=run.test_digest,
        table=named or f"rows {run.test_digest[:8]}",
        rows=round(rows),
        model=tag_of(run.tags, "base_model") or "unknown",
        spec=run.spec or run.name,
        metrics=run.figures,
        when=run.started,
        run_id=run.run_id,
        partial=run.partial,
        spent_usd=run.metrics.get("spent_usd"),
        price_usd=None if price is None else price.value * rows / 1000,
        is_choice=run.kind == "prompt",
    )
