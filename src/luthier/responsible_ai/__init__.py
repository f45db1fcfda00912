"""Responsible AI: a scorecard and dashboards of a packaged model, from predictions made once."""
