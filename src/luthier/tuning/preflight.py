"""The pre-flight of a fine-tuning job: what would be trained on, what it would cost, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from luthier.errors import DataError, SpecError
from luthier.providers.prices import dollars
from luthier.reporting.table import Column, Page, Row, Section, Table
from luthier.tasks.task import Rows
from luthier.techniques.finetune import FineTune
from luthier.tuning.preflight_findings import PreflightFinding
from luthier.tuning.row_checks import row_findings
from luthier.tuning.training_files import TrainingFile, answer_findings, count_parts, file_findings, training_file
from luthier.tuning.tuners.tuner import Hyperparameter, Quotes, Tuner

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "Preflight",
    "check_hyperparameter",
    "check_training_type",
    "log_preflight",
    "preflight",
    "with_settings",
]

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
        cost_usd: estimated price; `None` when it is unknown, which is not 0.
        epoch_usd: estimated price of one epoch, where it is known.
        epoch_usd_high: upper bound of the price of one epoch, where it is known.
        findings: those that stop the job first.
        labels: rows of each label, or of what else answers consist of, by table; the test table is counted and never
            sent.
        part: what those are called, as in `label`.
        counted: rows with a text, by table.
    """

    spec: str
    model: str
    place: str
    train: TrainingFile
    validation: TrainingFile | None
    epochs: int | None
    cost_usd: float | None
    epoch_usd: float | None
    epoch_usd_high: float | None
    findings: tuple[PreflightFinding, ...]
    labels: Mapping[str, Mapping[str, int]]
    part: str
    counted: Mapping[str, int]

    @property
    def files(self) -> dict[str, TrainingFile]:
        """The files that are uploaded, by table."""
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
        if self.stops:
            found = [
                line for one in self.findings if one.stops for line in (f"- {one}", *(f"    {r}" for r in one.rows))
            ]
            raise DataError(
                "\n".join([f"spec {self.spec!r} is not tuned on these tables; nothing was uploaded.", *found])
            )

    @property
    def trained_tokens(self) -> int | None:
        """Estimated tokens that are paid for; `None` where epochs are unknown."""
        return None if self.epochs is None else self.train.tokens * self.epochs

    @property
    def most_trained_tokens(self) -> int | None:
        """Upper bound of the tokens that are paid for; `None` where epochs are unknown."""
        return None if self.epochs is None else self.train.most_tokens * self.epochs

    @property
    def cost_usd_high(self) -> float | None:
        """Upper bound of the price; `None` where it is unknown or epochs are."""
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
        passes = "epochs left to the service" if self.epochs is None else f"{self.epochs} epochs"
        each, times = ("an epoch", 1) if self.epochs is None else ("in all", self.epochs)
        tokens, most = self.train.tokens * times, self.train.most_tokens * times
        return f"{sizes}, {passes}, about {tokens:,} tokens {each} (at most {most:,}), {self.price()}"

    def __str__(self) -> str:
        lines = [f"{self.spec}: {self.model} at {self.place}, {self.size()}"]
        lines += [f"{'STOP' if finding.stops else 'note'}: {finding}" for finding in self.findings]
        return "\n".join(lines)

    __repr__ = __str__

    def section(self, *, stops: bool = True) -> Section:
        """Sizes, labels, price and findings as a report.

        Args:
            stops: whether findings that stop the job are included, or left to the error that names them.
        """
        title = f"{self.spec}: {self.model} at {self.place}"
        shown = [one for one in self.findings if stops or not one.stops]
        found = (_findings_table(shown),) if shown else ()
        parts = (self._parts_table(),) if self.labels["train"] else ()
        return Section(title, (self.size(), _sizes_table(self.files), *parts, *found))

    def _parts_table(self) -> Table:
        """Rows of each label in each table, with their share."""
        rows = []
        for part in self.labels["train"]:
            counts = {name: counted[part] for name, counted in self.labels.items()}
            rows.append(Row((part, *(f"{n:,} ({n / (self.counted[name] or 1):.0%})" for name, n in counts.items()))))
        return Table((Column(self.part, kind="name"), *(Column(name, "count") for name in self.labels)), tuple(rows))

    def show(self, console: Console | None = None, *, stops: bool = True) -> None:
        """Prints the report.

        Args:
            console: where; standard error when absent.
            stops: see `section`.
        """
        from rich.console import Console

        from luthier.reporting.terminal import show

        show(self.section(stops=stops), console=console or Console(stderr=True))

    def page(self) -> Page:
        """The report as a page of its own."""
        lead = f"What was checked before a job at {self.place} was paid for."
        return Page(f"Before training: {self.spec}", lead, (), (self.section(),))

    def _repr_html_(self) -> str:
        from luthier.reporting.html import fragment

        return fragment(self.section())

    def document(self) -> dict[str, Any]:
        """The figures as JSON values, without the lines themselves."""
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
            "labels": {name: dict(counts) for name, counts in self.labels.items()},
        } | {name: file.document() for name, file in self.files.items()}


def preflight(
    spec: FineTune,
    tables: Mapping[str, Rows],
    tuner: Tuner,
    dropped: Mapping[str, int] | None = None,
) -> Preflight:
    """Makes the training files from the spec's own prompt and checks them and the rows; sends nothing.

    What stops a job is among the findings, so that all of it is seen at once; `Preflight.need_clean` raises it.

    Args:
        spec: the recipe.
        tables: labelled rows: `train`, and perhaps `validation`, which the service measures on while it trains, and
            `test`, which the result will be measured on.
        tuner: the service.
        dropped: number of leaked rows that were left out of each table before.

    Raises:
        DataError: a row cannot be rendered.
        SpecError: a hyperparameter is out of the service's bounds.
    """
    check_hyperparameters(spec, tuner)
    if spec.tuning.early_stopping_patience is not None and "validation" not in tables:
        raise SpecError(
            "tuning.early_stopping_patience: the service stops by the loss on validation rows, and there are none; "
            "give --validation, or leave the setting out."
        )
    model, rules = spec.base_model, tuner.rules(spec.base_model)
    files = {name: training_file(spec, rows) for name, rows in tables.items() if name != "test"}
    train = files["train"]
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
    for name, file in files.items():
        findings += file_findings(name, file, rules, tables[name])
    findings += answer_findings(files, rules, model, closed=bool(spec.task.labels))
    findings += row_findings(spec.task, spec.columns, tables)
    epochs, epoch_usd = tuner.epochs_for(train.rows, spec.tuning.epochs), tuner.estimate(model, train.tokens, 1)
    if epoch_usd is None and isinstance(tuner, Quotes):
        findings.append(
            PreflightFinding(
                "price_unknown",
                False,
                f"{tuner.place} names the price when the files are uploaded; a job above --budget is not bought.",
            )
        )
    elif epoch_usd is None:
        findings.append(
            PreflightFinding(
                "price_unknown",
                False,
                f"what {tuner.place} takes for training {model} is not known, which does not mean that it is free.",
                f"Put it into the endpoint: {TRAINING_PRICE} (0 is a price).",
            )
        )
    return Preflight(
        spec=spec.name,
        model=model,
        place=tuner.place,
        train=train,
        validation=files.get("validation"),
        epochs=epochs,
        cost_usd=tuner.estimate(model, train.tokens, epochs),
        epoch_usd=epoch_usd,
        epoch_usd_high=tuner.estimate(model, train.most_tokens, 1),
        findings=tuple(sorted(findings, key=lambda finding: not finding.stops)),
        labels={name: count_parts(rows, spec.task.kind) for name, rows in tables.items()},
        part=spec.task.kind.part_name,
        counted={name: sum(text is not None for text in rows.texts) for name, rows in tables.items()},
    )


def with_settings(check: Preflight, spec: FineTune, tuner: Tuner) -> Preflight:
    """The pre-flight of a spec that differs in the settings of its job only: the lines are those that were made before.

    Raises:
        SpecError: a hyperparameter is out of the service's bounds.
    """
    check_hyperparameters(spec, tuner)
    epochs = tuner.epochs_for(check.train.rows, spec.tuning.epochs)
    cost_usd = tuner.estimate(check.model, check.train.tokens, epochs)
    return replace(check, spec=spec.name, epochs=epochs, cost_usd=cost_usd)


def log_preflight(run_id: str, check: Preflight) -> None:
    """Keeps the figures and the report with the run of the job."""
    import mlflow

    from luthier.reporting.html import page_text

    client = mlflow.MlflowClient()
    client.log_dict(run_id, check.document(), "tune/preflight.json")
    client.log_text(run_id, page_text(check.page()), "tune/preflight.html")


def check_hyperparameters(spec: FineTune, tuner: Tuner) -> None:
    """Refuses hyperparameters the service does not take.

    Raises:
        SpecError: names the setting and its bounds.
    """
    known = {one.name: one for one in tuner.hyperparameters(spec.base_model)}
    for name, value in spec.tuning.hyperparameters.items():
        check_hyperparameter(name, value, known, tuner)
    check_training_type(spec.tuning.training_type, spec.base_model, tuner)


def check_hyperparameter(name: str, value: Any, known: Mapping[str, Hyperparameter], tuner: Tuner) -> None:
    """Refuses a value that the service does not take.

    Args:
        name: as in `tuning:` of a spec.
        value: `auto` leaves it to the service.
        known: what can be set for the base model, by name.
        tuner: the service.

    Raises:
        SpecError: names the setting and its bounds.
    """
    if value == "auto":
        return
    if name not in known:
        raise SpecError(f"tuning.{name}: {tuner.place} has no such setting; it has: {', '.join(known)}.")
    if (bounds := _allowed(known[name], value)) is not None:
        raise SpecError(f"tuning.{name}: {value} is out of bounds at {tuner.place}; allowed: {bounds}.")


def check_training_type(kind: str | None, model: str, tuner: Tuner) -> None:
    """Refuses a way of training that the service does not offer for a base model.

    Raises:
        SpecError: names those it offers.
    """
    allowed = tuner.rules(model).training_types
    if kind is not None and kind not in allowed:
        instead = f"allowed: {', '.join(allowed)}" if allowed else "it has no such setting; leave it out"
        raise SpecError(f"tuning.training_type: {kind} is not known at {tuner.place}; {instead}.")


def _allowed(one: Hyperparameter, value: Any) -> str | None:
    """What a service takes for a hyperparameter; `None` where the value is among it."""
    auto = ", or auto" if one.default == "auto" else ""
    if one.kind == "choice":
        return None if value in one.options else ", ".join(map(str, one.options)) + auto
    too_low = value < one.low or (one.low == 0 and value == 0 and not one.zero)
    if not too_low and (one.high is None or value <= one.high):
        return None
    least = "more than 0" if one.low == 0 and not one.zero else f"{one.low:g}"
    return least + ("" if one.high is None else f" to {one.high:g}") + auto


def _sizes_table(files: Mapping[str, TrainingFile]) -> Table:
    """Rows, size and tokens of each file that is uploaded."""
    heads = ("rows", "KB", "tokens", "a line: min", "median", "p95", "max")
    rows = []
    for name, file in files.items():
        spread = [file.spread.get(key) for key in ("min", "median", "p95", "max")]
        rows.append(Row((name, file.rows, len(file.content) / 1000, file.tokens, *spread)))
    return Table((Column("sent", kind="name"), *(Column(head, "count") for head in heads)), tuple(rows))


def _findings_table(findings: list[PreflightFinding]) -> Table:
    """Each finding, with some of the rows concerned beneath it."""
    rows = []
    for one in findings:
        rows.append(Row(("STOP" if one.stops else "note", str(one)), "first" if one.stops else ""))
        rows += [Row(("", str(place)), "reference") for place in one.rows]
    return Table((Column("", kind="name"), Column("finding", least=40)), tuple(rows))
