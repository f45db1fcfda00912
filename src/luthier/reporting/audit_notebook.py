"""An audit as an HTML fragment: what a notebook shows, and the tables of the page.

Needs no script and nothing from outside. Colours come from the notebook (`currentColor`), as the leaderboard's do.
"""

from __future__ import annotations

from html import escape

from luthier.evaluation.agreement import Agreement
from luthier.evaluation.audits import Audit
from luthier.evaluation.decomposition import CHANGES, Attribution
from luthier.evaluation.resampling import Interval
from luthier.reporting.audit_sentences import audit_sentences, figure, gap, job_sentences, spanned, title
from luthier.reporting.notebook import BOARD_STYLE
from luthier.reporting.numbers import p_value

__all__ = ["agreement_table", "audit_html", "parts_table"]

BAR_WIDTH = 150
BAR_HEIGHT = 20

HEADS = (
    ("metric", "", ""),
    ("pairs", "luthier-number", "Models with both values."),
    ("reported", "luthier-number", "Mean of the service's values."),
    ("measured", "luthier-number", "Mean of what the deployed models did."),
    ("difference", "", "Mean of reported minus measured, with its 95% interval over models."),
    ("", "", "The interval of the mean (thick) and the limits of agreement (thin); the dotted line is 0."),
    ("p", "luthier-number", "Sign-flip test: how often chance alone shows a mean difference at least this large."),
    ("limits", "", "Between these lie 95% of the single differences."),
    ("order (tau)", "", "Kendall's tau: 1 if both put the models into the same order, 0 if the orders are unrelated."),
    ("concordance", "", "Lin's: 1 only if every model is on the identity line."),
    ("lost by choosing", "luthier-number", "Best measured value minus that of the model the service says is best."),
)


def audit_html(audit: Audit) -> str:
    """The audit as a self-contained fragment for `_repr_html_`; every name in it is escaped."""
    parts = [f"<div><strong><bdi>{escape(audit.source)}</bdi></strong>: reported against measured</div>"]
    if audit.agreements:
        parts.append(agreement_table(audit))
    for job in audit.attributions:
        parts.append(f"<div><strong><bdi>{escape(job.name)}</bdi></strong></div>{parts_table(job)}")
        if len(audit.attributions) > 1:
            parts.append(_list(job_sentences(job)))
    parts.append(_list(audit_sentences(audit)))
    return f'<div class="luthier-board"><style>{BOARD_STYLE}</style>{"".join(parts)}</div>'


def agreement_table(audit: Audit) -> str:
    """A line per metric over the models; to be put inside an element of class `luthier-board`."""
    head = "".join(
        f'<th class="{kind}" title="{escape(hint, quote=True)}">{escape(name)}</th>' for name, kind, hint in HEADS
    )
    ends = [end for a in audit.agreements for end in (a.lower_limit.value, a.upper_limit.value)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    body = []
    for one in audit.agreements:
        cells = [
            ("", escape(title(one.metric))),
            ("luthier-number", f"{len(one.pairs.ids):,}"),
            ("luthier-number", figure(one.reported_mean)),
            ("luthier-number", figure(one.measured_mean)),
            ("", _cell(one.difference, signed=True)),
            ("", _bar(one, low, high)),
            ("luthier-number", escape(p_value(one.p))),
            ("", f"{gap(one.lower_limit.value)} to {gap(one.upper_limit.value)}"),
            ("", "" if one.order is None else _cell(one.order)),
            ("", "" if one.concordance is None else _cell(one.concordance)),
            ("luthier-number", figure(one.choice.lost)),
        ]
        body.append("<tr>" + "".join(f'<td class="{kind}">{text}</td>' for kind, text in cells) + "</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def parts_table(job: Attribution) -> str:
    """From reported to measured, a line per part, a column per metric; for an element of class `luthier-board`."""
    shown = job.decompositions
    head = "<th></th>" + "".join(f"<th>{escape(title(one.metric))}</th>" for one in shown)

    def line(name: str, cells: list[str], kind: str = "") -> str:
        return f'<tr class="{kind}"><td>{escape(name)}</td>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'

    body = [line("reported", [figure(one.reported) for one in shown], "luthier-first")]
    for place, part in enumerate(shown[0].parts):
        cells = [spanned(one.parts[place].share, signed=True) for one in shown]
        body.append(line(CHANGES[part.changes], cells))
    body.append(line("measured", [spanned(one.measured) for one in shown], "luthier-first luthier-rule"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _list(lines: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _cell(given: Interval, *, signed: bool = False) -> str:
    value, _, between = spanned(given, signed=signed).partition(" (")
    return f"{value}<br><small>{between.removesuffix(')')}</small>" if between else value


def _bar(one: Agreement, low: float, high: float) -> str:
    def x(value: float) -> str:
        return f"{6 + (BAR_WIDTH - 12) * (value - low) / ((high - low) or 1.0):.1f}"

    middle, found = BAR_HEIGHT // 2, one.difference
    limits = (one.lower_limit.value, one.upper_limit.value)
    span = f'x1="{x(found.low or found.value)}" x2="{x(found.high or found.value)}" y1="{middle}" y2="{middle}"'
    return (
        f'<svg width="{BAR_WIDTH}" height="{BAR_HEIGHT}" role="img" aria-hidden="true">'
        f'<line class="luthier-tick" x1="{x(0)}" x2="{x(0)}" y1="0" y2="{BAR_HEIGHT}"/>'
        f'<line class="luthier-span" style="stroke-width:1" x1="{x(limits[0])}" x2="{x(limits[1])}" '
        f'y1="{middle}" y2="{middle}"/><line class="luthier-span" {span}/>'
        f'<circle class="luthier-dot" cx="{x(found.value)}" cy="{middle}" r="4"/></svg>'
    )
