"""Audits: what a service reported about a model against what was measured, and why the two differ.

The room is not called `audit`, because importing a submodule `luthier.audit` would replace the verb `luthier.audit`.
"""
