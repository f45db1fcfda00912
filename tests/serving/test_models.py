"""What a server says of the model it has opened."""

from __future__ import annotations

import pytest

import luthier as lt
from luthier.errors import ModelError
from luthier.serving.models import open_model
from luthier.serving.settings import ServerSettings

SETTINGS = ServerSettings(port=0, without_key=True)


def test_a_registered_model_is_described_by_its_name_version_and_signature(model: lt.Model) -> None:
    facts = open_model("models:/stars@champion", SETTINGS).facts
    assert (facts.uri, facts.name, facts.version, facts.technique) == (
        "models:/stars@champion",
        "stars",
        "1",
        "prompt",
    )
    assert facts.columns == {"text": "string"}
    assert facts.params["max_tokens"] == "long"
    assert facts.outputs["label"] == "string"
    assert facts.outputs["probability"] == "double"
    assert facts.labels == ("1", "2", "3", "4", "5")
    assert set(facts.example[0]) == {"text"}


def test_a_uri_without_a_model_is_refused() -> None:
    with pytest.raises(ModelError, match="nowhere"):
        open_model("nowhere", SETTINGS)
