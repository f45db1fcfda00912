"""Estimators: linear models and boosted trees, stored as arrays or in their own text format, never as a pickle."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from luthier.errors import MissingPart
from luthier.techniques.heads.probabilities import OutputKind, around_value, from_above, shares_of
from luthier.techniques.heads.training_set import TrainingSet

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = [
    "LIGHTGBM_FILE",
    "XGBOOST_FILE",
    "EstimatorChoice",
    "Predictor",
    "TrainedModel",
    "train_model",
    "tree_library",
]

EstimatorName = Literal["logistic", "ordinal", "ridge", "lgbm", "xgboost", "xgb_limitdepth"]
"""Kinds of models; the last three are FLAML's names for LightGBM and two ways to grow XGBoost trees."""

LIGHTGBM_FILE = "lightgbm.txt"
XGBOOST_FILE = "xgboost.json"

MOST_ITERATIONS = 1000

FEW_ROWS = "The number of unique classes is greater than"
"""How a warning of scikit-learn begins that takes labels with a row or two each for numbers."""

THREADS = 1
"""Trees are grown on one core: sums over several threads differ in the last digit, and so would the model."""


@dataclass(frozen=True)
class EstimatorChoice:
    """An estimator, what it predicts, and its settings: numbers, texts and `None`."""

    estimator: EstimatorName
    output: OutputKind
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainedModel:
    """A trained model as plain data: the weights of a linear model, or the file of a booster in its own format."""

    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


TrainingSteps: TypeAlias = Generator[None, None, TrainedModel]
"""Training in short steps: between two of them the caller may look at the clock, or stop."""


def train_model(choice: EstimatorChoice, training_set: TrainingSet, seed: int) -> TrainingSteps:
    """Trains an estimator; the same training set, settings and seed give the same model."""
    if choice.estimator == "lgbm":
        return _lightgbm(choice, training_set, seed)
    if choice.estimator in ("xgboost", "xgb_limitdepth"):
        return _xgboost(choice, training_set, seed)
    return _linear(choice, training_set)


def tree_library(name: Literal["lightgbm", "xgboost"]) -> Any:
    """LightGBM or XGBoost, imported.

    Raises:
        MissingPart: the OpenMP library, which their wheels do not contain, is not installed.
    """
    try:
        return importlib.import_module(name)
    except OSError as error:
        raise MissingPart(
            f"{name} is installed but cannot be loaded ({error}). It needs the OpenMP library of the system; "
            "on Debian and Ubuntu type: apt-get install libgomp1, on macOS: brew install libomp"
        ) from error


class Predictor:
    """A trained model that predicts.

    `values` is a number per label it was trained on, `spread` the standard deviation of a regressor's errors.
    """

    def __init__(
        self, trained: TrainedModel, output: OutputKind, values: tuple[float, ...], spread: float = 0.0
    ) -> None:
        self._output = output
        self._values = values
        self._spread = spread
        self._arrays = trained.arrays
        self._lightgbm: Any = None
        self._xgboost: Any = None
        if LIGHTGBM_FILE in trained.files:
            self._lightgbm = tree_library("lightgbm").Booster(model_str=trained.files[LIGHTGBM_FILE].decode("utf-8"))
        elif XGBOOST_FILE in trained.files:
            self._xgboost = tree_library("xgboost").Booster({"nthread": THREADS, "verbosity": 0})
            self._xgboost.load_model(bytearray(trained.files[XGBOOST_FILE]))

    def raw(self, vectors: Floats) -> Floats:
        """The output of the model, shape (rows, outputs): probabilities, chances or a value; see `OutputKind`."""
        import numpy as np

        if self._lightgbm is not None:
            said = self._lightgbm.predict(vectors, num_threads=THREADS)
        elif self._xgboost is not None:
            said = self._xgboost.inplace_predict(vectors)
        else:
            # Not a matrix product: the last digits of one depend on the number of rows.
            said = np.einsum("rd,od->ro", vectors, self._arrays["coef"]) + self._arrays["intercept"]
            if self._output == "classifier":
                return shares_of(said)
            # The logistic function, in a form that does not overflow.
            chances: Floats = said if self._output == "regressor" else (1 + np.tanh(said / 2)) / 2
            return chances
        found: Floats = np.asarray(said, dtype=float).reshape(len(vectors), -1)
        if self._output == "classifier" and found.shape[1] == 1:
            return np.hstack([1 - found, found])
        return found

    def probabilities(self, vectors: Floats) -> Floats:
        """Shape (rows, labels it was trained on); a row's probabilities do not depend on the other rows."""
        return self.read(self.raw(vectors))

    def read(self, raw: Floats) -> Floats:
        """Probabilities from the output of the model."""
        if self._output == "regressor":
            return around_value(raw[:, 0], self._spread, self._values)
        found = from_above(raw) if self._output == "ordinal" else raw
        # Probabilities in single precision sum to 1 only approximately.
        shares: Floats = found / found.sum(axis=1, keepdims=True)
        return shares


def _linear(choice: EstimatorChoice, training_set: TrainingSet) -> TrainingSteps:
    """Logistic regression, one logistic regression per threshold between labels, or ridge regression on values.

    Fitted on standardised vectors; the scale is folded into the weights, which then apply to vectors as they are.
    """
    import numpy as np
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, Ridge

    yield
    mean, scale = training_set.vectors.mean(axis=0), training_set.vectors.std(axis=0)
    scale[scale < 1e-12] = 1.0
    scaled = (training_set.vectors - mean) / scale
    settings = dict(choice.settings)

    def weights(wanted: npt.NDArray[Any]) -> tuple[Floats, Floats]:
        given = settings.get("class_weight")
        model = LogisticRegression(C=settings["C"], class_weight=given, max_iter=MOST_ITERATIONS)
        with warnings.catch_warnings(), one_thread():
            # A fit that stops early is scored on held-out rows like any other.
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", FEW_ROWS)
            model.fit(scaled, wanted)
        return model.coef_, model.intercept_

    if choice.output == "regressor":
        with one_thread():
            ridge = Ridge(alpha=settings["alpha"]).fit(scaled, np.asarray(training_set.values)[training_set.targets])
        coef, intercept = ridge.coef_.reshape(1, -1), np.atleast_1d(ridge.intercept_)
    elif choice.output == "ordinal":
        found = []
        for bound in range(1, len(training_set.labels)):
            found.append(weights(training_set.targets >= bound))
            yield
        coef, intercept = np.vstack([one for one, _ in found]), np.concatenate([one for _, one in found])
    else:
        coef, intercept = weights(training_set.targets)
        if len(training_set.labels) == 2:
            coef, intercept = np.vstack([np.zeros_like(coef), coef]), np.concatenate([[0.0], intercept])
    coef = coef / scale
    return TrainedModel(arrays={"coef": np.ascontiguousarray(coef), "intercept": intercept - coef @ mean})


def one_thread() -> Any:
    """Limits linear algebra to one thread: on small matrices, several wait for each other on a busy machine."""
    return _pools().limit(limits=THREADS, user_api="blas")


@cache
def _pools() -> Any:
    # Finding the thread pools of the process takes longer than a small fit.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _lightgbm(choice: EstimatorChoice, training_set: TrainingSet, seed: int) -> TrainingSteps:
    lightgbm = tree_library("lightgbm")
    settings = dict(choice.settings)
    rounds = int(settings.pop("n_estimators"))
    if "log_max_bin" in settings:
        settings["max_bin"] = (1 << int(settings.pop("log_max_bin"))) - 1
    params = {
        **settings,
        **_aim(choice, training_set, binary="binary", several="multiclass", value="regression"),
        "seed": seed,
        "num_threads": THREADS,
        "deterministic": True,
        "force_col_wise": True,
        "feature_pre_filter": False,
        "verbosity": -1,
    }
    targets = _targets(choice, training_set)
    booster = lightgbm.Booster(params, lightgbm.Dataset(training_set.vectors, targets, params=params).construct())
    for _ in range(rounds):
        yield
        if booster.update():
            break
    return TrainedModel(files={LIGHTGBM_FILE: booster.model_to_string().encode("utf-8")})


def _xgboost(choice: EstimatorChoice, training_set: TrainingSet, seed: int) -> TrainingSteps:
    xgboost = tree_library("xgboost")
    settings = dict(choice.settings)
    rounds = int(settings.pop("n_estimators"))
    if not settings.get("max_depth"):
        settings |= {"max_depth": 0, "grow_policy": "lossguide"}
    params = {
        **settings,
        **_aim(choice, training_set, binary="binary:logistic", several="multi:softprob", value="reg:squarederror"),
        "tree_method": "hist",
        "seed": seed,
        "nthread": THREADS,
        "verbosity": 0,
    }
    data = xgboost.DMatrix(training_set.vectors, label=_targets(choice, training_set), nthread=THREADS)
    booster = xgboost.Booster(params, [data])
    for number in range(rounds):
        yield
        booster.update(data, number)
    return TrainedModel(files={XGBOOST_FILE: bytes(booster.save_raw("json"))})


def _aim(
    choice: EstimatorChoice, training_set: TrainingSet, *, binary: str, several: str, value: str
) -> dict[str, Any]:
    if choice.output == "regressor":
        return {"objective": value}
    if len(training_set.labels) == 2:
        return {"objective": binary}
    return {"objective": several, "num_class": len(training_set.labels)}


def _targets(choice: EstimatorChoice, training_set: TrainingSet) -> npt.NDArray[Any]:
    import numpy as np

    return (
        np.asarray(training_set.values)[training_set.targets] if choice.output == "regressor" else training_set.targets
    )
