"""`mlflow.pyfunc`'s predict wherever people call it: a notebook's loop, threads, forks, other processes."""

from __future__ import annotations

import concurrent.futures
import os
import pickle
import threading
from typing import Any

import mlflow
import pandas as pd
import pytest

import luthier as lt
from luthier.endpoints import Endpoint, Limits
from luthier_local import LocalServer
from tests.conftest import reviews
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("store")

IN_FLIGHT = 8


@pytest.fixture
def uri(task: lt.Task, endpoint: Endpoint) -> str:
    limited = endpoint.model_copy(update={"limits": Limits(concurrency=IN_FLIGHT)})
    return lt.log(lt.Prompt(task, "Stars for: {{ text }}", answer="score", endpoint=limited, name="zero")).uri


async def test_inside_a_running_loop_it_answers_as_outside(uri: str) -> None:
    texts = reviews(30)[["text"]]
    inside = mlflow.pyfunc.load_model(uri).predict(texts)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        outside = pool.submit(lambda: mlflow.pyfunc.load_model(uri).predict(texts)).result(PATIENCE_SECONDS)
    pd.testing.assert_frame_equal(inside, outside)
    assert (inside["state"] == "ok").all()


def test_many_threads_ask_each_row_once(uri: str, server: LocalServer) -> None:
    predict, texts = mlflow.pyfunc.load_model(uri).predict, reviews(160)[["text"]]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        parts = list(pool.map(lambda part: predict(texts.iloc[8 * (part % 20) :][:8]), range(40)))
    assert all((part["state"] == "ok").all() for part in parts)
    assert [part["label"].tolist() for part in parts[:20]] == [part["label"].tolist() for part in parts[20:]]
    assert server.received.total == 160


def test_a_copy_made_by_pickle_answers(uri: str) -> None:
    model = mlflow.pyfunc.load_model(uri).get_raw_model()
    texts = reviews(3)[["text"]]
    answered = model.predict(texts)
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(model)).predict(texts), answered)  # noqa: S301  (its own bytes)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_process_that_is_forked_while_others_predict_answers(uri: str) -> None:
    predict, over = mlflow.pyfunc.load_model(uri).predict, threading.Event()

    def go_on(thread: int) -> int:
        rounds = 0
        while not over.is_set():
            texts = [f"thread {thread}, round {rounds}, text {text}" for text in range(IN_FLIGHT)]
            assert (predict(pd.DataFrame({"text": texts}))["state"] == "ok").all()
            rounds += 1
        return rounds

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        running = [pool.submit(go_on, thread) for thread in range(4)]
        try:
            codes = [forked(predict, pd.DataFrame({"text": [f"child {number}"] * 5})) for number in range(5)]
        finally:
            over.set()
        assert all(each.result(PATIENCE_SECONDS) for each in running)
    assert codes == [0] * 5


def forked(predict: Any, texts: pd.DataFrame) -> int:
    """The exit code of a forked child that predicts: 0 where all rows are answered; a child that hangs is ended."""
    import signal

    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(int(PATIENCE_SECONDS))
            code = 0 if (predict(texts)["state"] == "ok").all() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
