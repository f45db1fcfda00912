"""The written part of a registered version's description."""

from __future__ import annotations

import mlflow
import pytest

from luthier.tracking.version_descriptions import mark_outdated, with_written_part
from tests.conftest import stars


def test_a_part_whose_end_was_deleted_is_left_alone_and_a_new_one_is_put_beneath() -> None:
    whole = with_written_part("", "Accuracy .80", "a1")
    torn = "Ask Ann first.\n\n" + whole.replace("<!-- luthier, end -->", "Retired in May.")
    again = with_written_part(torn, "Accuracy .90", "b2")
    assert again.startswith(torn.strip())
    assert again.count("<!-- luthier, end -->") == 1
    assert with_written_part(again, "Accuracy .95", "c3") == again.replace("b2", "c3").replace(".90", ".95")


def test_a_store_that_cannot_be_asked_costs_no_run_and_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    try:
        assert mark_outdated(stars(), "f" * 64, "a" * 32) == ()
    finally:
        mlflow.set_tracking_uri(before)
    assert "may show older figures" in caplog.text
