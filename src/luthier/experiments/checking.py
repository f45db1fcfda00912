"""Does a spec work: its endpoint asked one cheap question, and the spec's own weak points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from luthier.engine.inspection import Finding, check_endpoint
from luthier.engine.report import Report
from luthier.errors import MissingPart
from luthier.spec import Probe, Spec

__all__ = ["Checked", "check_specs"]

MARKS = {True: "ok  ", False: "FAIL", None: "    "}


@dataclass(frozen=True)
class Checked:
    """What was found about one spec.

    Attributes:
        name: of the spec.
        about: technique and model.
        findings: what was looked at, in order.
    """

    name: str
    about: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(finding.ok is not False for finding in self.findings)

    def document(self) -> dict[str, Any]:
        """The findings as JSON has them."""
        return {"name": self.name, "ok": self.ok, "findings": [asdict(finding) for finding in self.findings]}

    def __str__(self) -> str:
        lines = [f"{self.name} ({self.about})"]
        for finding in self.findings:
            lines.append(f"  {MARKS[finding.ok]} {finding.what}: {finding.detail}")
            if finding.cure:
                lines.append(f"       -> {finding.cure}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)


def check_specs(specs: Sequence[Spec], report: Report | None = None) -> list[Checked]:
    """Key, address, model, parameters, log-probabilities, price and limits of each, by one call that is not kept.

    What several specs ask, as the points of a grid do, is asked once. `report` counts the calls and their price.
    """
    asked: list[tuple[Probe, list[Finding]]] = []
    return [_checked(spec, asked, report) for spec in specs]


def _checked(spec: Spec, asked: list[tuple[Probe, list[Finding]]], report: Report | None) -> Checked:
    about = f"{spec.technique}, {spec.endpoint.label}" if spec.endpoint is not None else spec.technique
    findings: list[Finding] = []
    try:
        spec.task.kind.check_parts()
    except MissingPart as lacking:
        findings.append(Finding(False, "metrics", str(lacking)))
    if not spec.endpoints:
        findings.append(Finding(True, "endpoint", "calls no model, needs no key"))
    for probe in spec.probes():
        pool = probe.endpoint.pool
        for one, name in zip(pool, probe.endpoint.pool_names, strict=True):
            if len(pool) > 1:
                findings.append(Finding(None, "endpoint", f"{name}, weight {one.weight:g}"))
            findings += _found(replace(probe, endpoint=one), asked, report)
    if spec.needs_training:
        findings.append(Finding(None, "training rows", "needed: add --train TABLE to compare, fit and log"))
    findings += [Finding(None, "note", note) for note in spec.notes()]
    return Checked(spec.name, about, tuple(findings))


def _found(probe: Probe, asked: list[tuple[Probe, list[Finding]]], report: Report | None) -> list[Finding]:
    known = next((found for before, found in asked if before == probe), None)
    if known is None:
        known = check_endpoint(
            probe.endpoint, probe.reads_logprobs, probe.operation, probe.settings, roles=probe.roles, report=report
        )
        asked.append((probe, known))
    return known
