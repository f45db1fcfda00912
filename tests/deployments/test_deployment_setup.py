"""The name that a deployment gets when none is given."""

from __future__ import annotations

import pytest

from luthier.deployments.deployment_setup import _name_for
from luthier.errors import UserError


@pytest.mark.parametrize(
    ("model_uri", "name"),
    [
        ("models:/stars@champion", "stars"),
        ("models:/Stars of 2026/3", "stars-of-2026"),
        ("folder/stars-tuned", "stars-tuned"),
        ("models/stars-tuned.yaml", "stars-tuned"),
    ],
)
def test_a_deployment_is_named_after_its_model(model_uri: str, name: str) -> None:
    assert _name_for(model_uri) == name


def test_a_model_without_a_name_needs_one_given() -> None:
    with pytest.raises(UserError, match="--name NAME"):
        _name_for("models:/2026/1")
