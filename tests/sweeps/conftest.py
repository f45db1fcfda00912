"""Trials are fine-tuning jobs, most of them: the server, the spec and the time are those of the tuning tests."""

from tests.tuning.conftest import here, jobs_at, server, spec, timing

__all__ = ["here", "jobs_at", "server", "spec", "timing"]
