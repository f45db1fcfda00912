"""Runs as MLflow would have them, for tests of what is made of runs."""

from __future__ import annotations

from luthier.history.runs import LoggedRun

DAY = 86_400
START = 1_795_000_000.0


def compared(
    number: int, digest: str, specs: dict[str, float], *, fitted: str = "", rows: int = 100, partial: bool = False
) -> list[LoggedRun]:
    """A comparison on the day of this number, with a run per spec; `fitted` begins the digests of what was fitted."""
    when = START + number * DAY
    tags = {"luthier.task": "stars", "luthier.digest.test": digest, "luthier.partial": str(partial).lower()}
    parent = LoggedRun(
        f"c{number}", "1", "compare", f"comparison {number}", "FINISHED", when, when + 60, None,
        {"rows_evaluated": rows, "spent_usd": 0.25}, {"ranked_by": "qwk"}, tags,
    )  # fmt: skip
    children = [
        LoggedRun(
            f"c{number}-{name}", "1", "candidate", name, "FINISHED", when + place, when + 60, parent.run_id,
            {"qwk": value, "qwk_low": value - 0.1, "qwk_high": value + 0.05}, {},
            tags | {"luthier.spec": name, "luthier.digest.fitted": fitted + name},
        )
        for place, (name, value) in enumerate(specs.items())
    ]  # fmt: skip
    return [parent, *children]


def ran(kind: str, day: float, **metrics: float) -> LoggedRun:
    """A run of a kind on a day with these metrics."""
    when = START + day * DAY
    return LoggedRun(f"{kind}-{day}", "1", kind, kind, "FINISHED", when, when + 60, None, metrics, {}, {})
