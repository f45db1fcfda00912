"""What is changed in the widget's script where it shows explained rows, and why.

Each change is the text of raiwidgets 0.36 and what takes its place. `window.luthier.config.explained` is true in the
dashboard of explained rows alone; the dashboard of errors is as raiwidgets has it.
"""

from __future__ import annotations

__all__ = ["changed"]

EXPLAINED = "window.luthier.config.explained"
SAVED = "window.luthier.config.saved"

ONCE = (
    # Without a chosen feature the heat map has no largest value, and its legend would divide by zero.
    ("let t=this.props.max;", "let t=this.props.max||1;"),
    # A saved page holds trees and heat maps of the error rate, of all features, in bins of equal width.
    (
        "Object(yt.jsx)(nt.a,{label:it.a.ErrorAnalysis.MetricSelector.selectorLabel,options:r,",
        f"Object(yt.jsx)(nt.a,{{label:it.a.ErrorAnalysis.MetricSelector.selectorLabel,options:{SAVED}?r.slice(0,1):r,",
    ),
    (
        "this.props.errorAnalysisOption===$n.TreeMap&&Object(yt.jsx)(Ln.a,{className:e.featureList",
        f"!{SAVED}&&this.props.errorAnalysisOption===$n.TreeMap&&Object(yt.jsx)(Ln.a,{{className:e.featureList",
    ),
    (
        "return Object(yt.jsxs)(rt.a,{horizontal:!0,tokens:oa,className:e.matrixOptions,",
        f"return {SAVED}?null:Object(yt.jsxs)(rt.a,{{horizontal:!0,tokens:oa,className:e.matrixOptions,",
    ),
    # The plot of conditional expectations asks a model, which is not here.
    (
        "options:i,selectedKey:this.state.secondaryChartChoice",
        "options:i.slice(0,1),selectedKey:this.state.secondaryChartChoice",
    ),
    # Metrics of rows that were chosen because they are wrong would be taken for metrics of the model.
    (
        "e.dataset.predicted_y&&e.dataset.task_type!==tt.w.Forecasting&&n.push({key:Du.ModelOverviewTab",
        f"!{EXPLAINED}&&e.dataset.predicted_y&&e.dataset.task_type!==tt.w.Forecasting&&n.push({{key:Du.ModelOverviewTab",
    ),
    # The table of these rows stands above the text as well, where a row is chosen.
    (
        "e.dataset.task_type!==tt.w.Forecasting&&n.push({key:Du.DataAnalysisTab",
        f"!{EXPLAINED}&&e.dataset.task_type!==tt.w.Forecasting&&n.push({{key:Du.DataAnalysisTab",
    ),
    # The weights that are shown first are those for the predicted label, with their sign. The stock widget shows an
    # average over the labels of absolute values, which it gets wrong: it divides by the number of labels at each step.
    (
        "const n={[tt.pb.AbsAvg]:it.a.Interpret.absoluteAverage},i=[];Object(tt.L)(e.modelMetadata.modelType)&&i.push",
        f'const n={{[tt.pb.AbsAvg]:{EXPLAINED}?"Predicted label":it.a.Interpret.absoluteAverage}},i=[];'
        f"({EXPLAINED}||Object(tt.L)(e.modelMetadata.modelType))&&i.push",
    ),
    (
        "selectedFeatures:e.dataset.feature_names,selectedWeightVector:Object(tt.L)(e.modelMetadata.modelType)?",
        f"selectedFeatures:e.dataset.feature_names,selectedWeightVector:"
        f"{EXPLAINED}||Object(tt.L)(e.modelMetadata.modelType)?",
    ),
    (
        "const t=e[0].length;return e.map(e=>e.reduce((e,r)=>(e+Math.abs(r))/t,0))",
        "return e.map(e=>e[e.length-1])",
    ),
    # The label is the prediction, which need not be the likeliest label.
    (
        "Qp.predictClass(this.props.dataSummary.classNames,this.props.dataSummary.prediction)",
        "this.props.dataSummary.classNames[this.props.dataSummary.predictedY]",
    ),
    # An aggregate over passages, each of which is in one text, says nothing.
    (
        "{activeFeatureImportancesOption:zf.GlobalExplanation}",
        f"{{activeFeatureImportancesOption:{EXPLAINED}?zf.LocalExplanation:zf.GlobalExplanation}}",
    ),
    (
        "Object(yt.jsx)(ke,{itemKey:zf.GlobalExplanation,",
        f"!{EXPLAINED}&&Object(yt.jsx)(ke,{{itemKey:zf.GlobalExplanation,",
    ),
)

IN_EVERY_LANGUAGE = (
    (
        "Select a datapoint by clicking on a datapoint in the table to view the local feature importance values "
        "(local explanation) from SHAP\\'s text explainer.",
        "Select a row of the table to see what each passage of its text did to the prediction: the model was asked "
        "about the text without it.",
    ),
    ("Show most important words", "Show most important passages"),
    (
        "Positive scalar feature importances represent the extent that the words were important towards the "
        "classification of your selected label, and negative scalar feature importances represent words that "
        "encouraged your model away from your selected label.",
        "Red passages speak for the label, blue ones against it: the label is less or more likely without them.",
    ),
)


def changed(script: str) -> str:
    """The widget's script with the changes.

    Raises:
        RuntimeError: the script is not the one they were written for.
    """
    for old, new in ONCE:
        if script.count(old) != 1:
            raise RuntimeError(f"{old} is in the widget of raiwidgets {script.count(old)} times; 1 is expected.")
        script = script.replace(old, new)
    for old, new in IN_EVERY_LANGUAGE:
        if old not in script:
            raise RuntimeError(f"{old!r} is not in the widget of raiwidgets.")
        script = script.replace(old, new)
    return script
