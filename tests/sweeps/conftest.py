"""Trials are fine-tuning jobs, most of them: the server, the spec and the time are those of the tuning tests."""

from tests.sweeps.postgresql import postgresql, postgresql_server
from tests.tuning.conftest import here, jobs_at, server, spec, timing

__all__ = ["here", "jobs_at", "postgresql", "postgresql_server", "server", "spec", "timing"]
