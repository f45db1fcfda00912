"""Every error Luthier raises on purpose.

    LuthierError                    exit code 1 unless a subclass says otherwise
    ├── UserError            (2)    fixable by the person who typed the command
    │   ├── DataError        (2)    a table, a row or a file is not what it was said to be
    │   ├── SpecError        (2)    a task or spec that cannot be read or contradicts itself
    │   ├── EndpointError    (2)    a model, key or server that cannot be reached or used as asked
    │   │   ├── QuotaError   (2)    the account behind the endpoint has nothing left to spend
    │   │   └── UnusableAnswers (2) a model answers, and a spec cannot be fitted or asked with what it answers
    │   ├── MissingPart      (2)    an optional dependency or an asset that is not installed
    │   └── ModelError       (2)    a packaged model, a run or a registered name that cannot be used
    ├── Partial              (3)    the work ended, some rows have no answer yet
    ├── BudgetReached        (4)    the money given is spent; what was paid for is kept
    ├── GateFailed           (5)    a requirement on a metric is not met
    └── Interrupted        (130)    stopped by a signal after draining what was in flight

A message says what was given, what is allowed and what to type next. The command line
prints these without a traceback; anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

__all__ = [
    "BudgetReached",
    "DataError",
    "EndpointError",
    "GateFailed",
    "Interrupted",
    "LuthierError",
    "MissingPart",
    "ModelError",
    "Partial",
    "QuotaError",
    "SpecError",
    "UnusableAnswers",
    "UserError",
]


class LuthierError(Exception):
    """Base of every error raised on purpose."""

    exit_code = 1


class UserError(LuthierError, ValueError):
    """Something the caller gave cannot be used; the message says what to type instead."""

    exit_code = 2


class DataError(UserError):
    """A table, a row or a file is not what it was said to be."""


class SpecError(UserError):
    """A task or spec cannot be read, or contradicts itself."""


class EndpointError(UserError):
    """A model, key or server cannot be reached or used as asked."""

    cause: str | None = None
    """Why no request can work, as `replies.failures.Cause` names it; `None` where it is something else."""


class QuotaError(EndpointError):
    """The account behind the endpoint has nothing left to spend."""


class UnusableAnswers(EndpointError):
    """A model answers, and a spec cannot be fitted or asked with what it answers; other specs can go on."""


class MissingPart(UserError, ImportError):
    """An optional dependency or a downloaded asset is not there; the message has the command."""


class ModelError(UserError):
    """A packaged model, a run or a registered name cannot be used."""


class Partial(LuthierError):
    """The work ended, but some rows have no answer for a reason that may pass."""

    exit_code = 3


class BudgetReached(LuthierError):
    """The money given is spent. Everything paid for is in the journal."""

    exit_code = 4


class GateFailed(LuthierError):
    """A requirement on a metric is not met."""

    exit_code = 5


class Interrupted(LuthierError):
    """Stopped by a signal, after everything in flight was drained and kept."""

    exit_code = 130
