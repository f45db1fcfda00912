"""Where studies are kept: found, joined and opened by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage
from sqlalchemy import insert, select, update

from luthier.errors import ModelError, SpecError
from luthier.sweeps.database import STUDIES, SweepDatabase
from luthier.sweeps.stored_study import Claim, StoredStudy
from luthier.sweeps.trial import StudyFacts, SweepObjective

__all__ = ["Claim", "StoredStudy", "SweepStore"]


class SweepStore:
    """The studies of a database.

    Args:
        url: of the database; this user's own file when absent.

    Raises:
        UserError: the database cannot be used.
        MissingPart: the driver of PostgreSQL is not installed.
    """

    def __init__(self, url: str | None = None) -> None:
        self._database = SweepDatabase(url)
        with self._database.locked("tables"):
            # Two processes that make Optuna's tables at once would collide.
            rendered = self._database.url.render_as_string(hide_password=False)
            self._storage = RDBStorage(rendered, engine_kwargs=dict(self._database.engine_options))

    @property
    def shown(self) -> str:
        """The database as people may see it: without a password."""
        return self._database.shown

    def join(self, facts: StudyFacts, sampler: BaseSampler) -> StoredStudy:
        """The study of this name: a new one, or the one that is there, if it is about the same.

        A larger number of trials and another budget take the place of what the study had. A request to stop ends.

        Raises:
            SpecError: the storage has a study of this name that is about something else.
        """

        def act() -> StoredStudy:
            with self._database.locked(facts.name):
                stored = self._stored(facts.name)
                _need_same(stored, facts, self.shown)
                kept = facts
                if stored is not None:
                    kept = replace(
                        stored,
                        trials=max(stored.trials, facts.trials),
                        budget_usd=stored.budget_usd if facts.budget_usd is None else facts.budget_usd,
                    )
                # Made first: a study without a row is taken for new by the next process.
                study = optuna.create_study(
                    study_name=facts.name,
                    storage=self._storage,
                    sampler=sampler,
                    directions=[one.direction for one in facts.objectives],
                    load_if_exists=True,
                )
                written = json.dumps(asdict(kept))
                with self._database.engine.begin() as connection:
                    if stored is None:
                        row = {"name": kept.name, "facts": written, "stopped": False, "winner_usd": 0.0}
                        connection.execute(insert(STUDIES).values(**row))
                    else:
                        changed = update(STUDIES).where(STUDIES.c.name == kept.name)
                        connection.execute(changed.values(facts=written, stopped=False))
                return StoredStudy(self._database, study, kept)

        return self._database.patiently(act)

    def find(self, facts: StudyFacts) -> StoredStudy | None:
        """The study that `join` would go on with; `None` where there is none.

        Raises:
            SpecError: the storage has a study of this name that is about something else.
        """
        stored = self._database.patiently(lambda: self._stored(facts.name))
        _need_same(stored, facts, self.shown)
        return None if stored is None else self.open(facts.name)

    def open(self, name: str | None = None, sampler: BaseSampler | None = None) -> StoredStudy:
        """A study as it is; the newest when no name is given.

        Raises:
            ModelError: there is no such study; the message says which there are.
        """
        known = self.studies()
        facts = next((one for one in known if name is None or one.name == name), None)
        if facts is None:
            there = f"it has: {', '.join(one.name for one in known)}" if known else "it has none yet"
            asked = "no sweep" if name is None else f"no sweep {name!r}"
            raise ModelError(f"{asked} in {self.shown}; {there}. Another database: --storage URL")
        study = self._database.patiently(
            lambda: optuna.load_study(study_name=facts.name, storage=self._storage, sampler=sampler)
        )
        return StoredStudy(self._database, study, facts)

    def studies(self) -> list[StudyFacts]:
        """Every study, newest first."""

        def act() -> list[StudyFacts]:
            with self._database.engine.connect() as connection:
                return [_facts_of(row.facts) for row in connection.execute(select(STUDIES.c.facts))]

        return sorted(self._database.patiently(act), key=lambda one: -one.created)

    def _stored(self, name: str) -> StudyFacts | None:
        with self._database.engine.connect() as connection:
            row = connection.execute(select(STUDIES.c.facts).where(STUDIES.c.name == name)).one_or_none()
        return None if row is None else _facts_of(row.facts)


def _facts_of(written: str) -> StudyFacts:
    kept = json.loads(written)
    objectives = tuple(SweepObjective(**one) for one in kept.pop("objectives"))
    return StudyFacts(**kept, objectives=objectives)


def _need_same(stored: StudyFacts | None, facts: StudyFacts, shown: str) -> None:
    if stored is None or stored.digest == facts.digest:
        return
    tables = ("train", "validation", "holdout")
    differ = [
        *(key for key in ("spec", "space", "objective") if stored.document.get(key) != facts.document.get(key)),
        *(f"the {name} rows" for name in tables if _rows(stored, name) != _rows(facts, name)),
    ]
    raise SpecError(
        f"{shown} has a study {facts.name!r} already, and this sweep differs from it in "
        f"{' and '.join(differ) or 'its task'}, so their trials cannot be compared. Give the sweep another name "
        "(`name:` in its file), or undo the change."
    )


def _rows(facts: StudyFacts, name: str) -> Any:
    table: Mapping[str, Any] = facts.tables.get(name, {})
    return table.get("digest")
