"""Writes the pages of this folder: the public names of `luthier` from their docstrings, the commands from their help.

Signatures are taken from the source, not from the running objects, so that every Python writes the same pages.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent

NOTE = "<!-- Written by scripts/docs. Do not edit: change the docstring. -->\n\n"


@dataclass(frozen=True)
class Page:
    """One page of the reference.

    Attributes:
        file: its name.
        title: its heading.
        opening: what it says before the first name.
        names: public names, as `luthier.NAME`; or `module:NAME` for a block that a public one is made of.
    """

    file: str
    title: str
    opening: str
    names: tuple[str, ...]


PAGES = (
    Page(
        "verbs.md",
        "Verbs, boards and models",
        "The functions behind the commands, and what they return. DataFrames in, DataFrames out.",
        (
            "preview", "check", "try_out", "TryOut", "luthier.experiments.try_session:TrySession",
            "luthier.experiments.try_row:TriedRow", "luthier.experiments.try_records:Tried",
            "luthier.experiments.try_records:TriedCall", "compare", "fit", "log", "load", "score", "promote", "tune",
            "attach_job",
            "import_from", "adopt", "ImportReport", "luthier.importing.records:ImportedItem",
            "luthier.importing.records:NotImported",
            "compare_tables", "plan", "spark_scorer", "luthier.scoring.spark_scorer:SparkScorer",
            "luthier.scoring.spark_job:SparkScore", "compare_checkpoints", "audit", "rai", "report", "prompts",
            "read_table",
            "Board", "Boards", "SpecResult", "Plan", "Model", "Job",
            "luthier.packaging.model:LuthierModel", "luthier.scoring.batch_report:BatchReport",
            "luthier.packaging.promotion:Promotion", "luthier.evaluation.gates:Gate",
            "luthier.experiments.checking:Checked", "Finding", "luthier.auditing.audit_result:AuditResult",
            "RaiReport", "ReportPage", "PromptList", "luthier.history.prompt_history:MeasuredWording",
            "luthier.history.prompt_history:PromptHistory", "luthier.history.prompt_history:MeasuredRows",
            "luthier.history.prompt_runs:PromptFigure", "luthier.history.prompt_parents:PromptParent",
            "luthier.reporting.shown_figure:ShownFigure",
            "luthier.responsible_ai.dashboards:Dashboards",
            "luthier.responsible_ai.dashboard_server:DashboardServer", "luthier.evaluation.explanations:Explanation",
        ),
    ),
    Page(
        "specs.md",
        "Tasks and specs",
        "Fields are the keys of the YAML; see [spec.md](../spec.md) and [prompt.md](../prompt.md).",
        (
            "Task", "luthier.tasks.labels.label_settings:ClassSettings",
            "luthier.tasks.labels.label_settings:LabelSetSettings",
            "luthier.tasks.extraction.span_extraction:SpanSettings",
            "luthier.tasks.extraction.field_extraction:FieldSettings",
            "luthier.tasks.pairs.similarity:SimilaritySettings", "luthier.tasks.free_text.generation:FreeTextSettings",
            "luthier.tasks.types:TaskType", "Spec", "Prompt", "luthier.techniques.prompt.recipe:PromptRecipe",
            "luthier.techniques.prompt.settings:Wording", "luthier.techniques.prompt.settings:Examples",
            "luthier.techniques.prompt.settings:AnswerFormat", "luthier.techniques.prompt.settings:Decoding",
            "Embedding",
            "luthier.techniques.heads.head:Head", "Decision", "FineTune", "luthier.techniques.finetune:Tuning",
            "luthier.techniques.finetune:Tuned", "Baseline", "Fitted", "read_spec", "read_specs", "grid",
        ),
    ),
    Page(
        "endpoints.md",
        "Endpoints and the engine",
        "Where a model answers; see [endpoints.md](../endpoints.md).",
        (
            "Endpoint", "luthier.providers.endpoint:Limits", "luthier.providers.endpoint:Price",
            "luthier.providers.endpoint:Resource",
            "openai", "azure", "compatible", "embedded", "Engine", "luthier.tuning.tuners.tuner:Tuner",
        ),
    ),
    Page(
        "catalogue.md",
        "The catalogue",
        "Which models there are, which of them suits your rows, and which retire; see [catalogue.md](../catalogue.md), "
        "[rank.md](../rank.md) and [retiring.md](../retiring.md).",
        (
            "catalogue", "describe_model", "refresh_catalogue", "rank_models", "retiring", "ModelList", "ModelSheet",
            "luthier.model_choice.shortlist:Shortlist", "RetiringModels",
            "luthier.model_catalogue.records:CatalogueModel", "luthier.model_catalogue.records:Fact",
        ),
    ),
    Page(
        "deploying.md",
        "Serving and deploying",
        "A model that answers HTTP; see [deploy.md](../deploy.md).",
        (
            "deploy", "deployment", "list_deployments", "Deployment", "ServerSettings",
            "luthier.deployments.deployment_setup:DeploymentResult", "luthier.deployments.plan:DeploymentPlan",
            "luthier.scoring.model_server:ModelServer", "luthier.serving.keys:KeyFile",
        ),
    ),
    Page(
        "improve.md",
        "Better prompts",
        "A search for a better prompt within a budget; see [improve.md](../improve.md).",
        (
            "improve", "Improvement", "luthier.improving.improvement_facts:ImprovementFacts",
            "luthier.improving.improvement_facts:PromptFigures", "luthier.improving.records:Proposer",
            "luthier.improving.records:PromptSearch", "luthier.improving.records:Proposal",
            "luthier.improving.records:MeasuredPrompt",
        ),
    ),
    Page(
        "judge.md",
        "Judging answers",
        "Answers rated by a model; see [judge.md](../judge.md).",
        (
            "judge", "Judgement", "luthier.judging.judgement_facts:JudgementFacts",
            "luthier.judging.judgement_facts:JudgedSpec", "luthier.judging.judgement_facts:JudgedPair",
            "luthier.judging.judgement_facts:HumanAgreement",
        ),
    ),
    Page(
        "sweeps.md",
        "Sweeps",
        "A search over the settings of a spec; see [sweep.md](../sweep.md).",
        (
            "sweep", "open_sweep", "stop_sweep", "Sweep", "luthier.sweeps.trial:SweepTrial",
            "luthier.sweeps.settings:SweepSettings", "luthier.sweeps.early_stopping:EarlyStoppingSettings",
            "luthier.sweeps.study_state:WinnerFigures", "luthier.sweeps.sweep_plan:SweepPlan",
        ),
    ),
    Page(
        "errors.md",
        "Errors",
        "One tree; the number in brackets is the exit code of the command line. See [errors.md](../errors.md).",
        (
            "LuthierError", "UserError", "DataError", "SpecError", "EndpointError", "QuotaError", "UnusableAnswers",
            "MissingPart", "ModelError", "Partial", "BudgetReached", "GateFailed", "Interrupted",
        ),
    ),
)  # fmt: skip

SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Examples):$")


def source_of(name: str) -> tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """The public way to a name, and its definition."""
    if ":" in name:
        module_name, short = name.split(":")
        found = getattr(importlib.import_module(module_name), short)
        shown = f"{module_name}.{short}"
    else:
        found, short, shown = getattr(importlib.import_module("luthier"), name), name, f"luthier.{name}"
    module = sys.modules[found.__module__]
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == found.__name__:
            return shown, node
    raise LookupError(f"{name} is not defined at the top of {module.__name__}, called {short}")


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str, *, method: bool) -> str:
    """A call of it with names, types and defaults, over several lines when it is long."""
    given = node.args
    arguments: list[str] = []
    positional = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(given.defaults)) + list(given.defaults)
    for place, (argument, default) in enumerate(zip(positional, defaults, strict=True)):
        if method and place == 0 and argument.arg in ("self", "cls"):
            continue
        arguments.append(written(argument, default))
        if given.posonlyargs and argument is given.posonlyargs[-1]:
            arguments.append("/")
    if given.vararg is not None:
        arguments.append(f"*{written(given.vararg, None)}")
    elif given.kwonlyargs:
        arguments.append("*")
    arguments += [written(a, d) for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    if given.kwarg is not None:
        arguments.append(f"**{written(given.kwarg, None)}")
    if arguments[:1] == ["/"]:
        arguments = arguments[1:]
    back = f" -> {ast.unparse(node.returns)}" if node.returns is not None and node.name != "__init__" else ""
    line = f"{name}({', '.join(arguments)}){back}"
    if len(line) <= 100:
        return line
    return f"{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + f"){back}"


def written(argument: ast.arg, default: ast.expr | None) -> str:
    """One argument as the source has it."""
    kind = f": {ast.unparse(argument.annotation)}" if argument.annotation is not None else ""
    if default is None:
        return f"{argument.arg}{kind}"
    equals = " = " if kind else "="
    return f"{argument.arg}{kind}{equals}{ast.unparse(default)}"


def sections(docstring: str | None) -> Iterator[tuple[str, list[str]]]:
    """A Google docstring cut at its headings; what stands before the first has none."""
    heading, lines = "", list[str]()
    for line in (docstring or "").expandtabs().splitlines():
        found = SECTION.match(line)
        if found:
            yield heading, lines
            heading, lines = found[1], []
        else:
            lines.append(line)
    yield heading, lines


def described(docstring: str | None) -> str:
    """A docstring as Markdown."""
    out: list[str] = []
    for heading, lines in sections(docstring):
        text = textwrap.dedent("\n".join(lines)).strip("\n")
        if not text.strip():
            continue
        if not heading:
            out.append(blocks(text))
        elif heading == "Examples":
            out.append(f"```pycon\n{text}\n```")
        elif heading in ("Returns", "Yields"):
            out.append(f"**{heading}**: {' '.join(text.split())}")
        else:
            entries = re.split(r"\n(?=\S)", text)
            title = {"Args": "Arguments"}.get(heading, heading)
            out.append(f"**{title}**\n\n" + "\n".join(entry_line(entry) for entry in entries))
    return "\n\n".join(out)


def blocks(text: str) -> str:
    """Paragraphs as they are; indented ones as code."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", text):
        if all(line.startswith("    ") for line in paragraph.splitlines()):
            parts.append(f"```text\n{textwrap.dedent(paragraph)}\n```")
        else:
            parts.append("\n".join(line.rstrip() for line in paragraph.splitlines()))
    return "\n\n".join(parts)


def entry_line(entry: str) -> str:
    """`name: what it is` as a list entry."""
    name, _, text = entry.partition(":")
    return f"- `{name.strip()}`: {' '.join(text.split())}"


def fields_of(node: ast.ClassDef) -> Iterator[str]:
    """Annotated class attributes with the docstring under each."""
    following = [*node.body[1:], None]
    for statement, after in zip(node.body, following, strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name = statement.target.id
        if name.startswith("_") or name.isupper():
            continue
        default, bounds = default_of(statement.value)
        said = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
            said = " ".join(after.value.value.split())
        value = f" = {default}" if default else ""
        limits = f" ({bounds})" if bounds else ""
        yield f"- `{name}: {ast.unparse(statement.annotation)}{value}`{limits}" + (f"  \n  {said}" if said else "")


def default_of(value: ast.expr | None) -> tuple[str, str]:
    """The default of a field as code, and its bounds in words."""
    if value is None:
        return "", ""
    if not isinstance(value, ast.Call) or ast.unparse(value.func) not in ("Field", "field"):
        return ast.unparse(value), ""
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in value.keywords}
    factory = given.get("default_factory")
    default = given.get("default", f"{factory}()" if factory else "")
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    return default, ", ".join(f"{said} {given[name]}" for name, said in words.items() if name in given)


def decorators(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Names of the decorators, without arguments."""
    return {ast.unparse(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list}


def members_of(node: ast.ClassDef) -> Iterator[str]:
    """Public properties and methods."""
    methods = [m for m in node.body if isinstance(m, ast.FunctionDef | ast.AsyncFunctionDef)]
    for method in methods:
        marks = decorators(method)
        if method.name == "__init__" and ast.get_docstring(method):
            call = signature(method, node.name, method=True)
            yield f"```python\n{call}\n```\n\n{described(ast.get_docstring(method))}"
        if method.name.startswith("_") or any(mark.endswith("validator") for mark in marks):
            continue
        text = described(ast.get_docstring(method))
        if {"property", "cached_property"} & marks:
            back = f": {ast.unparse(method.returns)}" if method.returns is not None else ""
            yield f"### `.{method.name}{back}`\n\n{text}"
        else:
            prefix = f"{node.name}." if {"classmethod", "staticmethod"} & marks else "."
            wait = "await " if isinstance(method, ast.AsyncFunctionDef) else ""
            call = signature(method, wait + prefix + method.name, method=True)
            yield f"### `{prefix}{method.name}()`\n\n```python\n{call}\n```\n\n{text}"


def entry(name: str) -> str:
    """Everything about one name."""
    shown, node = source_of(name)
    if not isinstance(node, ast.ClassDef):
        call = signature(node, shown, method=False)
        return f"## `{shown}`\n\n```python\n{call}\n```\n\n{described(ast.get_docstring(node))}\n"
    parts = [f"## `{shown}`"]
    bases = [ast.unparse(base) for base in node.bases if ast.unparse(base) not in ("BaseModel", "object")]
    if bases:
        parts.append(f"A kind of {', '.join(f'`{base}`' for base in bases)}.")
    parts.append(described(ast.get_docstring(node)))
    code = [s for s in node.body if isinstance(s, ast.Assign) and ast.unparse(s.targets[0]) == "exit_code"]
    if code:
        parts.append(f"Exit code {ast.unparse(code[0].value)}.")
    fields = list(fields_of(node))
    documented = "Attributes:" in (ast.get_docstring(node) or "")
    if fields and not documented:
        parts.append("**Fields**\n\n" + "\n".join(fields))
    parts += members_of(node)
    return "\n\n".join(part for part in parts if part) + "\n"


def page_text(page: Page) -> str:
    """A page of names."""
    return f"{NOTE}# {page.title}\n\n{page.opening}\n\n" + "\n".join(entry(name) for name in page.names)


def commands() -> dict[str, Any]:
    """Every command by the words it is called with, verbs of a verb included."""
    import typer

    from luthier.cli.main import app

    found: dict[str, Any] = {}

    def walk(command: Any, words: Sequence[str]) -> None:
        inner = getattr(command, "commands", None)
        if inner:
            for name, one in inner.items():
                walk(one, [*words, name])
        else:
            found[" ".join(words)] = command

    walk(typer.main.get_command(app), ["luthier"])
    return found


def parameter_line(parameter: Any) -> str:
    """An argument or an option of a command, with its help."""
    argument = is_argument(parameter)
    shown = parameter.metavar or parameter.name.upper()
    if not argument:
        flag = getattr(parameter, "is_flag", False)
        value = "" if flag else f" {parameter.metavar or parameter.name.split('_')[-1].upper()}"
        shown = ", ".join(sorted(parameter.opts, key=len)) + value
    notes = []
    if parameter.required and not argument:
        notes.append("required")
    default = parameter.default
    if not argument and default not in (None, False, ()) and not callable(default):
        notes.append(f"default: {getattr(default, 'value', default)}")
    extra = f" ({', '.join(notes)})" if notes else ""
    return f"| `{escaped(shown)}` | {escaped(parameter.help or '')}{extra} |"


def is_argument(parameter: Any) -> bool:
    """Whether it is given by its place, not by a name."""
    return not any(name.startswith("-") for name in parameter.opts)


def escaped(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|")


def cli_text() -> str:
    """The page of commands."""
    parts = [
        f"{NOTE}# Commands\n\n`luthier VERB --help` prints the same. Exit codes: [errors.md](../errors.md#exit-codes)."
        " Every command is a function of the library: [verbs.md](verbs.md).\n"
    ]
    for words, command in commands().items():
        arguments = [p for p in command.params if is_argument(p)]
        usage = " ".join([words, *(p.metavar or p.name.upper() for p in arguments), "[OPTIONS]"])
        rows = [parameter_line(p) for p in command.params if not getattr(p, "hidden", False) and p.name != "help"]
        table = "| | |\n|---|---|\n" + "\n".join(rows) if rows else ""
        text = " ".join((command.help or "").split())
        parts.append(f"## {words}\n\n{text}\n\n```sh\n{usage}\n```\n\n{table}".rstrip() + "\n")
    return "\n".join(parts)


def index_text() -> str:
    """The first page."""
    lines = [
        f"- [{page.title}]({page.file}): " + ", ".join(f"`{n.split(':')[-1]}`" for n in page.names) for page in PAGES
    ]
    return (
        f"{NOTE}# Reference\n\nWritten from the docstrings by `scripts/docs`; a test holds it up to date.\n\n"
        "- [Commands](commands.md)\n" + "\n".join(lines) + "\n"
    )


def pages() -> dict[str, str]:
    """Every page of this folder by its file name."""
    texts = {page.file: page_text(page) for page in PAGES}
    return {"README.md": index_text(), "commands.md": cli_text(), **texts}


def main(arguments: Sequence[str]) -> int:
    """Writes the pages, or with `--check` says which are out of date."""
    stale = []
    for name, text in pages().items():
        file = FOLDER / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in arguments:
                file.write_text(text, encoding="utf-8")
    print(f"docs/reference: {', '.join(stale) or 'nothing'} {'out of date' if '--check' in arguments else 'written'}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
