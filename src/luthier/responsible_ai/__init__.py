"""Responsible AI: a scorecard and dashboards of a packaged model, from predictions that are made once.

The room is not called `rai`, because importing a submodule `luthier.rai` would replace the verb `luthier.rai`.
"""
