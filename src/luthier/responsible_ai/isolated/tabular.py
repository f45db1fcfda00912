"""The dashboard of errors: where the model is wrong, by features of the rows. No model is called.

The features are columns that were computed before, the predictions are stored. What RAIInsights would ask a model for
is looked up, and where its own ways do not fit stored predictions of strangers' rows, they are replaced here.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from erroranalysis._internal.constants import PRED_Y, ROW_INDEX, TRUE_Y
from erroranalysis._internal.error_analyzer import PredictionsAnalyzer
from isolated.inputs import NO_LABEL, DashboardRows, InputCohort
from isolated.page import AnsweredRequest, Dashboard, plain
from isolated.row_filters import mask_of
from ml_wrappers.model.predictions_wrapper import PredictionsModelWrapperClassification
from raiutils.cohort import Cohort, CohortFilter
from raiwidgets.responsibleai_dashboard_input import ResponsibleAIDashboardInput
from responsibleai import FeatureMetadata, RAIInsights

__all__ = ["tabular_dashboard"]

TARGET = "label"
METRIC = "Error rate"
BINS = 8
"""What the heat map divides a feature into before a user asks for more."""

MOST_CONTRIBUTIONS = 2_000_000
"""Classes times rows times features: more would make the page larger than a browser likes to open."""

SURROGATE_TREES = 25

MOST_PAIRS = 120
"""Heat maps of two features that a saved page holds, for all rows."""
COHORT_FEATURES = 4
"""Features whose heat maps it holds for each cohort as well."""

Step = Callable[[str, int, int], None]


class StoredInsights(RAIInsights):
    """Insights from stored predictions."""

    def _validate_classes(self, *_: Any, **__: Any) -> None:
        """It would refuse labels that no row has, or that the model never predicts."""

    def categories(self) -> dict[str, list[str]]:
        """The values of each column of texts, in the order the page numbers them."""
        return dict(zip(self.categorical_features, map(list, self._categories), strict=True))

    def get_filtered_test_data(
        self,
        filters: list[Any],
        composite_filters: list[Any],
        include_original_columns_only: bool = False,
        use_entire_test_data: bool = False,
    ) -> pd.DataFrame:
        """Rows that meet all filters. The stock one writes names and values into an expression, unescaped."""
        frame = self.test.drop(columns=[self.target_column])
        truth, predicted = self.test[self.target_column].to_numpy(), self._predict_output
        asked = [*filters, *composite_filters]
        kept = mask_of(asked, frame, truth, predicted, list(self._classes), self.categories())
        if not include_original_columns_only:
            frame = frame.assign(**{TRUE_Y: truth, PRED_Y: predicted, ROW_INDEX: np.arange(len(frame))})
        return frame[kept]


def tabular_dashboard(rows: DashboardRows, step: Step, saved: bool) -> Dashboard:
    """The dashboard of labelled rows.

    Args:
        rows: with a truth each, at least one.
        step: is told what is done, how much of it and of how much.
        saved: whether answers are needed that a saved page can give.
    """
    frame = rows.frame
    truth = frame["truth"].to_numpy(dtype=object)
    predicted = frame["prediction"].fillna(NO_LABEL).to_numpy(dtype=object)
    labels = list(rows.labels) + ([NO_LABEL] if (predicted == NO_LABEL).any() else [])
    chances = _chances(rows, predicted, labels)
    features = frame[list(rows.features)]

    step("error analysis", 0, 1)
    with warnings.catch_warnings():
        # Each is about a way of use that is not ours, such as one frame for training and testing.
        warnings.simplefilter("ignore")
        insights = _insights(features, truth, predicted, chances, labels, list(rows.categorical))
        shown = ResponsibleAIDashboardInput(insights, cohort_list=_cohorts(rows, insights))
    data = plain(shown.dashboard_input)
    # Looked up by their features, rows that are alike would all be given the first one's prediction.
    known = {label: place for place, label in enumerate(labels)}
    data["dataset"]["predicted_y"] = [known[one] for one in predicted]
    data["dataset"]["probability_y"] = chances.round(4).tolist()

    step("feature importance", 0, 1)
    notes = list(rows.notes)
    contributions = len(labels) * features.size
    if contributions <= MOST_CONTRIBUTIONS:
        data["modelExplanationData"] = [_importance(features, predicted, labels, list(rows.categorical))]
    else:
        notes.append(f"Feature importance is left out: {len(labels)} labels on {len(features):,} rows are too many.")
    if rows.probabilities is None:
        notes.append("The model gives no probabilities: where they are drawn, each prediction has 1.")

    def answer(path: str, body: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = {"/tree": shown.debug_ml, "/matrix": shown.matrix}[path](body) if body else shown.importances()
        return plain(found)

    answered, lost = _answers(answer, data, insights.categories(), step) if saved else ((), 0)
    if lost:
        notes.append(f"{lost} trees or heat maps could not be computed for the saved page; it says so in their place.")
    return Dashboard("Errors and features", data, answer, answered, tuple(notes))


def _chances(rows: DashboardRows, predicted: np.ndarray[Any, Any], labels: list[str]) -> np.ndarray[Any, Any]:
    """Probabilities with a column per label; where there are none, the prediction has all of it."""
    places = np.array([labels.index(one) for one in predicted])
    certain = np.eye(len(labels))[places]
    if rows.probabilities is None:
        return certain
    given = np.zeros_like(certain)
    given[:, : rows.probabilities.shape[1]] = rows.probabilities
    usable = np.isfinite(given).all(axis=1) & (predicted != NO_LABEL)
    return np.where(usable[:, None], given, certain)


def _insights(
    features: pd.DataFrame,
    truth: np.ndarray[Any, Any],
    predicted: np.ndarray[Any, Any],
    chances: np.ndarray[Any, Any],
    labels: list[str],
    categorical: list[str],
) -> StoredInsights:
    table = features.assign(**{TARGET: truth})
    model = PredictionsModelWrapperClassification(features, predicted, chances, should_construct_pandas_query=False)
    insights = StoredInsights(
        model,
        table,
        table,
        TARGET,
        "classification",
        classes=np.array(labels, dtype=object),
        maximum_rows_for_test=len(table),
        feature_metadata=FeatureMetadata(categorical_features=categorical),
    )
    insights._predict_output = predicted
    analyzer = PredictionsAnalyzer(
        predicted, features, truth, list(features.columns), categorical, classes=np.array(labels, dtype=object)
    )
    insights.error_analysis.add(min_child_samples=max(2, min(20, len(table) // 10)))
    insights.error_analysis._analyzer = analyzer
    insights.error_analysis.compute()
    # It is given train and test to put together; the rows are the same.
    insights._data_balance_manager._df = table
    insights._data_balance_manager.compute()
    return insights


def _cohorts(rows: DashboardRows, insights: StoredInsights) -> list[Cohort]:
    """Those that some rows are in; the widget does not survive an empty one."""
    made = []
    for one in rows.cohorts:
        kept = np.ones(len(rows.frame), dtype=bool)
        for each in one.filters:
            cells = rows.frame[each.column]
            kept &= {">": cells.gt, "<=": cells.le, "=": cells.eq}[each.relation](each.value).to_numpy()
        if kept.any():
            made.append(_cohort(one))
    return made


def _cohort(given: InputCohort) -> Cohort:
    made = Cohort(given.name)
    for one in given.filters:
        method = {">": "greater", "<=": "less and equal", "=": "includes"}[one.relation]
        made.add_cohort_filter(CohortFilter(method=method, arg=[one.value], column=one.column))
    return made


def _importance(
    features: pd.DataFrame, predicted: np.ndarray[Any, Any], labels: list[str], categorical: list[str]
) -> dict[str, Any]:
    """What the predictions depend on, from a small model that is fitted to them: its TreeSHAP contributions.

    The stock explainer does the same with more trees and takes minutes for some thousand rows.
    """
    coded = features.assign(**{name: features[name].astype("category") for name in categorical})
    coded.columns = [f"f{place}" for place in range(coded.shape[1])]
    places = np.array([labels.index(one) for one in predicted])
    seen, target = np.unique(places, return_inverse=True)
    scores = np.zeros((len(labels), *features.shape))
    intercepts = np.zeros(len(labels))
    if len(seen) > 1:
        settings: dict[str, Any] = (
            {"objective": "binary"} if len(seen) == 2 else {"objective": "multiclass", "num_class": len(seen)}
        )
        settings |= {"verbosity": -1, "num_leaves": 15, "min_data_in_leaf": max(1, min(20, len(features) // 20))}
        settings |= {"seed": 7, "deterministic": True, "num_threads": 2}
        model = lightgbm.train(settings, lightgbm.Dataset(coded, target), SURROGATE_TREES)
        found = np.asarray(model.predict(coded, pred_contrib=True)).reshape(len(features), -1, features.shape[1] + 1)
        if len(seen) == 2:
            found = np.concatenate([-found, found], axis=1)
        scores[seen] = found[:, :, :-1].transpose(1, 0, 2)
        intercepts[seen] = found[0, :, -1]
    overall = np.abs(scores).mean(axis=(0, 1))
    return {
        "method": "mimic.lightgbm",
        "precomputedExplanations": {
            "localFeatureImportance": {"scores": scores.round(4).tolist(), "intercept": intercepts.round(4).tolist()},
            "globalFeatureImportance": {
                "scores": overall.round(6).tolist(),
                "intercept": intercepts.round(4).tolist(),
                "feature_list": list(features.columns),
            },
        },
    }


def _answers(
    answer: Callable[[str, Any], Any], data: dict[str, Any], categories: Mapping[str, Sequence[str]], step: Step
) -> tuple[tuple[AnsweredRequest, ...], int]:
    """What a user asks first (the error tree of all rows and of each cohort, and heat maps), and how many fail."""
    names = data["dataset"]["feature_names"]
    settings = data["errorAnalysisData"][0]
    ranked = [names[i] for i in np.argsort(settings["importances"] or [0.0] * len(names))[::-1]]
    pairs = list(itertools.permutations(names, 2))
    most = [list(pair) for pair in pairs] if len(pairs) <= 2 * MOST_PAIRS else None
    wide = most or [list(pair) for pair in itertools.permutations(ranked[:15], 2)]
    narrow = [list(pair) for pair in itertools.permutations(ranked[:COHORT_FEATURES], 2)]
    singles = [pair for name in names for pair in ([name, None], [None, name])]
    asked: list[tuple[str, Any]] = [("/importances", [])]
    for filters in [[], *(_asked_filters(one, categories) for one in data["cohortData"])]:
        trees = [settings["maxDepth"], settings["numLeaves"], settings["minChildSamples"], settings["metric"]]
        asked.append(("/tree", [names, filters, [], *trees]))
        for pair in [*singles, *(narrow if filters else wide)]:
            asked.append(("/matrix", [pair, filters, [], False, BINS, METRIC]))
    made = []
    for done, (path, body) in enumerate(asked):
        if done % 20 == 0:
            step("answers for the saved page", done, len(asked))
        found = answer(path, body)
        if "error" not in found:
            made.append(AnsweredRequest(path, body, found["data"]))
    return tuple(made), len(asked) - len(made)


def _asked_filters(cohort: dict[str, Any], categories: Mapping[str, Sequence[str]]) -> list[Any]:
    """A cohort's filters as the page sends them: a text is meant by its place among the values of its column."""
    return [
        {
            "arg": [list(categories[one["column"]]).index(value) for value in one["arg"]]
            if one["column"] in categories
            else [int(value) if float(value).is_integer() else value for value in one["arg"]],
            "column": one["column"],
            "method": one["method"],
        }
        for one in cohort["cohort_filter_list"]
    ]
