"""Dashboards as documents: the widget's own script with Luthier's in front, and data that no parser takes for code.

raiwidgets writes data into a JavaScript template literal, where a text with a backtick ends it and one with `${` is
evaluated. Here the data is JSON in a script element that is not executed, with `<` written as an escape.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from isolated.widget_changes import changed

__all__ = ["AnsweredRequest", "Dashboard", "frame_data", "frame_script", "plain", "write_parts"]

FONT = re.compile(r"""src:"url\('"\+e\+"fabric-icons-[\w-]+\.woff'\) format\('woff'\)\"""")
ICON = re.compile("""(\\w+)(["']?:["'])[\ue000-\uf8ff](?=["'])""")

ICONS = {
    **dict.fromkeys(("ChevronDown", "ChevronDownMed", "ChevronDownSmall", "CaretDownSolid8"), "▾"),
    **dict.fromkeys(("ChevronUp", "ChevronUpMed", "ChevronUpSmall", "CaretUpSolid8"), "▴"),
    **dict.fromkeys(("ChevronRight", "ChevronRightMed", "ChevronRightSmall", "CaretSolidRight"), "▸"),
    **dict.fromkeys(("ChevronLeft", "ChevronLeftMed", "ChevronLeftSmall"), "◂"),
    **dict.fromkeys(("Cancel", "ChromeClose", "Clear", "StatusCircleErrorX", "ErrorBadge"), "✕"),
    **dict.fromkeys(("Add", "CircleAddition", "AddTo", "ZoomIn", "CircleAdditionSolid"), "+"),
    **dict.fromkeys(("CheckMark", "StatusCircleCheckmark", "Accept", "Completed"), "✓"),
    **dict.fromkeys(("Settings", "Equalizer"), "⚙"),
    **dict.fromkeys(("Info", "InfoSolid"), "?"),
    **dict.fromkeys(("Help", "Unknown"), "?"),
    **dict.fromkeys(("Delete", "Trash"), "✕"),
    **dict.fromkeys(("Edit", "EditSolid12"), "✎"),
    **dict.fromkeys(("More", "MoreVertical"), "⋯"),
    **dict.fromkeys(("Sort", "SortLines"), "↕"),
    **dict.fromkeys(("SortUp", "Up"), "↑"),
    **dict.fromkeys(("SortDown", "Down"), "↓"),
    **dict.fromkeys(("Refresh", "Sync", "SwitchUser", "Switch"), "⇄"),
    **dict.fromkeys(("Warning", "Error", "IncidentTriangle"), "!"),
    **dict.fromkeys(("GlobalNavButton", "CollapseMenu", "BulletedList2", "BulletedList"), "☰"),
    **dict.fromkeys(("Search", "Filter"), "⌕"),
    "CircleRing": "○",
}

Answer = Callable[[str, Any], Any]
"""Answers a request of the page: its path, such as `/tree`, and its body."""


@dataclass(frozen=True)
class AnsweredRequest:
    """A request that a saved page can be asked, with its answer."""

    path: str
    body: Any
    answer: Any


@dataclass(frozen=True)
class Dashboard:
    """One dashboard.

    Attributes:
        title: its heading.
        data: what the widget draws, ready for JSON.
        answer: answers requests while the program runs; `None` where the widget asks nothing.
        answered: what a saved page can answer.
        notes: what a reader should know, each a sentence.
        explained: whether its rows were chosen to be explained, so that nothing but the explanations is shown.
    """

    title: str
    data: dict[str, Any]
    answer: Answer | None = field(default=None, repr=False)
    answered: tuple[AnsweredRequest, ...] = ()
    notes: tuple[str, ...] = ()
    explained: bool = False


def plain(value: Any) -> Any:
    """The value as JSON has it: objects as their attributes, arrays as lists, 0 for a number that is not finite.

    raiwidgets' own function escapes every text once more, for the template literal that it writes into.
    """
    if isinstance(value, dict):
        return {name.value if isinstance(name, Enum) else str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else 0
    if value is None or isinstance(value, str | int):
        return value
    return plain(vars(value)) if hasattr(value, "__dict__") else str(value)


def frame_script() -> str:
    """The script that every dashboard runs: Luthier's part, then the widget's, unchanged but for where data is read.

    Raises:
        RuntimeError: the widget is not the one this was written for.
    """
    import raiwidgets

    folder = Path(raiwidgets.__file__).parent / "widget"
    parts = [Path(__file__).with_name("frame.js").read_text(encoding="utf-8")]
    for name in ("runtime", "polyfills", "main"):
        [file] = folder.glob(f"{name}.*.js")
        parts.append(file.read_text(encoding="utf-8"))
    for old, new in (
        ('JSON.parse("__rai_config__")', "window.luthier.config"),
        ('d.a.parse("__rai_model_data__")', "window.luthier.data"),
        ("__rai_app_id__", "dashboard"),
    ):
        if parts[-1].count(old) != 1:
            raise RuntimeError(f"{old} is in the widget of raiwidgets {parts[-1].count(old)} times; 1 is expected.")
        parts[-1] = parts[-1].replace(old, new)
    parts[-1] = _with_plain_icons(changed(parts[-1]))
    script = "\n;\n".join(parts)
    if "</script" in script.lower():
        raise RuntimeError("the widget of raiwidgets has an end tag of a script in it.")
    return script


def _with_plain_icons(script: str) -> str:
    """Icons as signs that fonts have: those of the widget are in fonts on the network."""
    script, fonts = FONT.subn("src:'local(\"sans-serif\")'", script)
    script, icons = ICON.subn(lambda found: found[1] + found[2] + ICONS.get(found[1], ""), script)
    if not fonts or not icons:
        raise RuntimeError("the icons of raiwidgets are not where they are expected.")
    return script


def frame_data(dashboard: Dashboard, live: str | None = None) -> str:
    """What `frame_script` reads: settings, data and answers, as JSON that is safe in a script element.

    Args:
        dashboard: to be drawn.
        live: address that requests are sent to; the answers that were prepared take their place when absent.
    """
    document = {
        "config": {
            "dashboardType": "ResponsibleAI",
            "id": "dashboard",
            # Without an address the widget asks nothing: there is no error analysis of rows that were chosen.
            "baseUrl": "" if dashboard.explained else live or "saved:",
            "withCredentials": False,
            "locale": "en",
            # The balance of data is that of columns of texts; without one, its tab asks a developer for some.
            "featureFlights": "dataBalanceExperience" if dashboard.data["dataset"]["categorical_features"] else "",
            "explained": dashboard.explained,
            "saved": live is None,
        },
        "data": dashboard.data,
        "answered": None
        if live
        else [{"path": one.path, "body": one.body, "answer": one.answer} for one in dashboard.answered],
    }
    # Whole characters, or a lone surrogate would be a byte that is no UTF-8; no NaN, which is not JSON.
    text = json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def write_parts(dashboards: list[Dashboard], notes: tuple[str, ...], folder: Path) -> None:
    """Writes what Luthier puts the page together from: `frame.js`, `dashboards.json` and a data file per dashboard."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = []
    for place, one in enumerate(dashboards):
        (folder / f"frame-{place}.json").write_text(frame_data(one), encoding="utf-8")
        frames.append({"title": one.title, "notes": one.notes, "data": f"frame-{place}.json"})
    (folder / "frame.js").write_text(frame_script(), encoding="utf-8", newline="\n")
    listed = {"schema": 1, "script": "frame.js", "frames": frames, "notes": notes}
    (folder / "dashboards.json").write_text(json.dumps(listed, indent=1), encoding="utf-8")
