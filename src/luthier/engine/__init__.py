"""Requests to answers: limits, retries, journal, budget. The only place that calls a model."""
