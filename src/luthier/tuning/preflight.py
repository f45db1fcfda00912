"""What would be trained on and what it would cost, looked at before anything is uploaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from luthier.errors import SpecError
from luthier.providers.prices import dollars
from luthier.reporting.html import fragment
from luthier.reporting.table import Column, Row, Section, Table
from luthier.reporting.terminal import show
from luthier.tasks.task import Rows
from luthier.techniques.finetune import FineTune
from luthier.tuning.preflight_findings import PreflightFinding, refuse
from luthier.tuning.row_checks import row_findings
from luthier.tuning.training_files import TrainingFile, file_findings, training_file
from luthier.tuning.tuners.tuner import Tuner

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["TrainingFile", "Preflight", "check_hyperparameters", "log_preflight", "preflight", "training_file"]

TRAINING_PRICE = "price: {input_usd_per_million: ..., output_usd_per_million: ..., training_usd_per_million: ...}"


@dataclass(frozen=True)
class Preflight:
    """What a job would be trained on and cost, and what is wrong with it.

    Attributes:
        spec: name of the spec.
        model: the base model.
        place: where it would be trained.
        train: the training lines.
        validation: the validation lines; `None` without any.
        epochs: passes over the training lines; `None` where the service decides.
        trained_tokens: estimated tokens that are paid for; `None` where epochs are unknown.
        cost_usd: estimated price; `None` when it is unknown, which is not 0.
        epoch_usd: estimated price of one epoch, where it is known.
        epoch_usd_high: price that one epoch has at most, where it is known.
        findings: what stops the job, then what should be known before paying.
        labels: rows of each label, by table; `test` is counted and never sent.
    """

    spec: str
    model: str
    place: str
    train: TrainingFile
    validation: TrainingFile | None
    epochs: int | None
    trained_tokens: int | None
    cost_usd: float | None
    epoch_usd: float | None = None
    epoch_usd_high: float | None = None
    findings: tuple[PreflightFinding, ...] = ()
    labels: Mapping[str, Mapping[str, int]] | None = None

    @property
    def tables(self) -> dict[str, TrainingFile]:
        """The lines by what they are for."""
        return {"train": self.train} | ({} if self.validation is None else {"validation": self.validation})

    @property
    def stops(self) -> bool:
        """Whether a job on these tables is refused."""
        return any(finding.stops for finding in self.findings)

    def need_clean(self) -> None:
        """Refuses tables that would spoil the job or its figures.

        Raises:
            DataError: has every finding that stops, with its cure and example rows.
        """
        refuse(self.spec, self.findings)

    @property
    def most_trained_tokens(self) -> int | None:
        """Tokens that are paid for at most; `None` where epochs are unknown."""
        return None if self.epochs is None else self.train.most_tokens * self.epochs

    @property
    def cost_usd_high(self) -> float | None:
        """Price of the whole at most; `None` where it is unknown or epochs are."""
        return None if self.epochs is None or self.epoch_usd_high is None else self.epoch_usd_high * self.epochs

    def price(self) -> str:
        """The price in words."""
        whole = self.cost_usd is not None
        likely, most = (self.cost_usd, self.cost_usd_high) if whole else (self.epoch_usd, self.epoch_usd_high)
        if likely is None:
            return "price unknown"
        if most == 0:
            return dollars(0)
        bound = "" if most is None else f", at most {dollars(most, up=True)}"
        return f"about {dollars(likely)}{bound}{'' if whole else ' an epoch'}"

    def size(self) -> str:
        """Rows, epochs, tokens and price in words."""
        sizes = f"{self.train.rows:,} training rows"
        if self.validation is not None:
            sizes += f", {self.validation.rows:,} validation rows"
        epochs = "epochs left to the service" if self.epochs is None else f"{self.epochs} epochs"
        tokens = self.train.tokens if self.trained_tokens is None else self.trained_tokens
        most = self.train.most_tokens if self.most_trained_tokens is None else self.most_trained_tokens
        each = " an epoch" if self.trained_tokens is None else " in all"
        return f"{sizes}, {epochs}, about {tokens:,} tokens{each} (at most {most:,}), {self.price()}"

    def __str__(self) -> str:
        lines = [f"{self.spec}: {self.model} at {self.place}, {self.size()}"]
        lines += [f"{'STOP' if finding.stops else 'note'}: {finding}" for finding in self.findings]
        return "\n".join(lines)

    __repr__ = __str__

    def show(self, console: Console | None = None, *, stops: bool = True) -> None:
        """Prints all of it.

        Args:
            console: where; standard error when absent.
            stops: whether what stops is printed too, or is left to the error that says it.
        """
        from rich.console import Console

        show(self._section(stops), console=console or Console(stderr=True))

    def _repr_html_(self) -> str:
        return fragment(self._section())

    def _section(self, stops: bool = True) -> Section:
        found = [finding for finding in self.findings if stops or not finding.stops]
        tables = [_sizes(self.tables), *([_label_counts(self.labels)] if self.labels else [])]
        tables += [_found(found)] if found else []
        return Section(f"{self.spec}: {self.model} at {self.place}", (self.size(), *tables))

    def document(self) -> dict[str, Any]:
        """The figures as JSON has them, without the lines themselves."""
        return {
            "spec": self.spec,
            "model": self.model,
            "place": self.place,
            "epochs": self.epochs,
            "trained_tokens": self.trained_tokens,
            "most_trained_tokens": self.most_trained_tokens,
            "cost_usd": self.cost_usd,
            "cost_usd_high": self.cost_usd_high,
            "epoch_usd": self.epoch_usd,
            "stops": self.stops,
            "findings": [finding.document() for finding in self.findings],
            "labels": {name: dict(counts) for name, counts in (self.labels or {}).items()},
        } | {name: lines.document() for name, lines in self.tables.items()}


def preflight(
    spec: FineTune,
    train: Rows,
    validation: Rows | None,
    test: Rows | None,
    tuner: Tuner,
    dropped: Mapping[str, int] | None = None,
) -> Preflight:
    """Prepares the lines from the spec's own prompt and looks at them and the rows; sends nothing.

    What stops a job is among the findings, so that all of it is seen at once; `need_clean` refuses.

    Args:
        spec: the recipe.
        train: labelled rows to train on.
        validation: labelled rows the service measures on while it trains.
        test: rows the result will be measured on, which must not be among the others.
        tuner: the service.
        dropped: rows of each table that were left out before, because they had leaked.

    Raises:
        DataError: a row cannot be rendered.
        SpecError: a hyperparameter is out of the service's bounds.
    """
    check_hyperparameters(spec, tuner)
    model = spec.base_model
    rules = tuner.rules(model)
    given = {"train": train, "validation": validation, "test": test}
    tables = {name: rows for name, rows in given.items() if rows is not None}
    trained = training_file(spec, train)
    held_out = None if validation is None else training_file(spec, validation)
    epochs = tuner.epochs_for(trained.rows, spec.tuning.epochs)
    findings = [
        PreflightFinding(
            "dropped",
            False,
            f"{count:,} {name} rows are left out, because a table they would be measured by has their text; rows are "
            "numbered without them.",
        )
        for name, count in (dropped or {}).items()
        if count
    ]
    findings += file_findings("train", trained, rules, train)
    if held_out is not None and validation is not None:
        findings += file_findings("validation", held_out, rules, validation)
    findings += row_findings(spec.task, spec.columns, tables)
    epoch_usd = tuner.estimate(model, trained.tokens, 1)
    if epoch_usd is None:
        findings.append(
            PreflightFinding(
                "price_unknown",
                False,
                f"what {tuner.place} takes for training {model} is not known, which is not nothing.",
                f"Put it into the endpoint: {TRAINING_PRICE} (0 is a price).",
            )
        )
    return Preflight(
        spec=spec.name,
        model=model,
        place=tuner.place,
        train=trained,
        validation=held_out,
        epochs=epochs,
        trained_tokens=None if epochs is None else trained.tokens * epochs,
        cost_usd=tuner.estimate(model, trained.tokens, epochs),
        epoch_usd=epoch_usd,
        epoch_usd_high=tuner.estimate(model, trained.most_tokens, 1),
        findings=tuple(sorted(findings, key=lambda finding: not finding.stops)),
        labels={name: _counted(rows, spec.task.labels) for name, rows in tables.items()},
    )


def log_preflight(run_id: str, check: Preflight) -> None:
    """Keeps the figures and the page with the run of the job."""
    import mlflow

    client = mlflow.MlflowClient()
    client.log_dict(run_id, check.document(), "tune/preflight.json")
    client.log_text(run_id, check._repr_html_(), "tune/preflight.html")


def check_hyperparameters(spec: FineTune, tuner: Tuner) -> None:
    """Refuses hyperparameters the service does not take.

    Raises:
        SpecError: names the setting and its bounds.
    """
    known = {one.name: one for one in tuner.hyperparameters(spec.base_model)}
    for name, value in spec.tuning.hyperparameters.items():
        if value == "auto":
            continue
        if name not in known:
            raise SpecError(f"tuning.{name}: {tuner.place} has no such setting; it has: {', '.join(known)}.")
        bounds = known[name]
        too_low = value < bounds.low or (bounds.low == 0 and value == 0)
        if too_low or (bounds.high is not None and value > bounds.high):
            most = "" if bounds.high is None else f" to {bounds.high:g}"
            least = "more than 0" if bounds.low == 0 else f"{bounds.low:g}"
            raise SpecError(
                f"tuning.{name}: {value} is out of bounds at {tuner.place}; allowed: {least}{most}, or auto."
            )
    kind, allowed = spec.tuning.training_type, tuner.rules(spec.base_model).training_types
    if kind is not None and kind not in allowed:
        said = f"allowed: {', '.join(allowed)}" if allowed else "it has no such setting; leave it out"
        raise SpecError(f"tuning.training_type: {kind} is not known at {tuner.place}; {said}.")


def _counted(rows: Rows, labels: tuple[str, ...]) -> dict[str, int]:
    counts = dict.fromkeys(labels, 0)
    for label, text in zip(rows.labels, rows.texts, strict=True):
        if label is not None and text is not None:
            counts[label] += 1
    return counts


def _sizes(tables: Mapping[str, TrainingFile]) -> Table:
    """Rows, bytes and tokens of each table that is uploaded."""
    steps = ("min", "median", "p95", "max")
    heads = [Column(head, "count") for head in ("rows", "KB", "tokens", "a line: min", *steps[1:])]
    rows = tuple(
        Row((name, lines.rows, len(lines.content) / 1000, lines.tokens, *(lines.spread.get(step) for step in steps)))
        for name, lines in tables.items()
    )
    return Table((Column("sent", kind="name"), *heads), rows)


def _label_counts(labels: Mapping[str, Mapping[str, int]]) -> Table:
    """Rows of each label in each table, with their share."""
    sums = {name: sum(counts.values()) for name, counts in labels.items()}

    def cell(name: str, label: str) -> str:
        return f"{labels[name][label]:,} ({labels[name][label] / sums[name]:.0%})" if sums[name] else "0"

    rows = tuple(Row((label, *(cell(name, label) for name in labels))) for label in next(iter(labels.values()), {}))
    return Table((Column("label", kind="name"), *(Column(name, "count") for name in labels)), rows)


def _found(findings: Sequence[PreflightFinding]) -> Table:
    """A row per finding, and beneath it a row per place where it was found."""
    rows = []
    for finding in findings:
        rows.append(Row(("STOP", str(finding)), "first") if finding.stops else Row(("note", str(finding))))
        rows += [Row(("", str(place)), "reference") for place in finding.rows]
    return Table((Column(""), Column("finding", least=40)), tuple(rows))
