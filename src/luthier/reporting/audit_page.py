"""One HTML page with everything an audit says; it opens from disk and asks the network for nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from luthier.evaluation.audits import Audit
from luthier.evaluation.decomposition import CHANGES
from luthier.reporting.audit_notebook import agreement_table, parts_table
from luthier.reporting.audit_plots import box_figure, level_figure, parts_figure, scatter_figure
from luthier.reporting.audit_sentences import audit_sentences, figure, gap, job_sentences, spanned, title
from luthier.reporting.document import document_html, write_document
from luthier.reporting.notebook import BOARD_STYLE

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["audit_page_html", "write_audit_page"]

MOST_METRICS = 6
MOST_JOBS = 40
MOST_MODELS = 500


def audit_page_html(audit: Audit) -> str:
    """The page as text.

    Args:
        audit: what it shows. Example rows of its jobs are on the page, with their texts.
    """
    from markupsafe import Markup

    figures: dict[str, go.Figure] = {}
    agreements = [(one, f"figure-{place}") for place, one in enumerate(audit.agreements[:MOST_METRICS])]
    for one, name in agreements:
        figures |= {f"{name}-scatter": scatter_figure(one), f"{name}-level": level_figure(one)}
    if agreements:
        figures["figure-box"] = box_figure([one for one, _ in agreements])
    jobs = [
        (job, f"figure-job-{place}", job_sentences(job), Markup(parts_table(job)))
        for place, job in enumerate(audit.attributions[:MOST_JOBS])
    ]
    figures |= {name: parts_figure(job.decompositions[0]) for job, name, _, _ in jobs}
    # Markup only for what the notebook's tables have escaped themselves; everything else is escaped by the template.
    return document_html(
        "audit.html",
        figures,
        audit=audit,
        said=audit_sentences(audit),
        table=Markup(agreement_table(audit)) if audit.agreements else "",
        board_style=Markup(BOARD_STYLE),
        agreements=agreements,
        models=list(_models(audit))[:MOST_MODELS],
        jobs=jobs,
        changes=CHANGES,
        title=title,
        figure=figure,
        gap=gap,
        spanned=spanned,
    )


def write_audit_page(audit: Audit, path: str | Path) -> Path:
    """Writes the page; the file appears whole or not at all.

    Args:
        audit: what it shows.
        path: the file; an existing one is replaced, missing folders are made.

    Raises:
        DataError: the file cannot be written.
    """
    return write_document(audit_page_html(audit), path)


def _models(audit: Audit) -> list[tuple[str, list[tuple[float, float] | None]]]:
    """Per model its reported and measured value in each metric, in the order of the first metric's differences."""
    values = [
        {name: (said, found) for name, said, found in zip(a.pairs.ids, a.pairs.reported, a.pairs.measured, strict=True)}
        for a in audit.agreements[:MOST_METRICS]
    ]
    names = dict.fromkeys(name for of in values for name in of)
    lines = [(name, [of.get(name) for of in values]) for name in names]

    def size(line: tuple[str, list[tuple[float, float] | None]]) -> float:
        first = line[1][0]
        return 0.0 if first is None else -abs(first[0] - first[1])

    return sorted(lines, key=size)
