"""The dashboards at an address of this machine, with every error tree and heat map computed when it is asked for.

Nothing outside this machine reaches it, and no page of another site can use it: it listens on loopback, answers only
under its own name (a name of another site may be made to point to loopback), and takes only JSON from its own pages.
"""

from __future__ import annotations

import html
import json
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from isolated.page import Dashboard, frame_data, frame_script
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, NotFound
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

__all__ = ["serve"]

HOST = "127.0.0.1"
MOST_BYTES = 1_000_000
"""Of a request; the widget sends a few thousand."""

POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; frame-src 'self'; style-src 'unsafe-inline'; "
    "img-src data:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
SCORECARD = "scorecard.html"
"""A page that is shown first, if it is in the folder that was given."""

HEAD = '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="referrer" content="no-referrer">'

SHELL = (
    HEAD + '<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title><style>'
    ":root {{ color-scheme: light dark; }} body {{ margin: 0; height: 100vh; display: flex; flex-direction: column; "
    "font: 15px/1.5 system-ui, sans-serif; }} nav {{ display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; "
    "padding: .6rem 1.2rem; }} nav b {{ overflow-wrap: anywhere; }} iframe {{ flex: 1; border: 0; width: 100%; "
    "background: #fff; }} ul {{ margin: 0; padding: 0 1.2rem .5rem 2.2rem; font-size: 13px; }}</style></head><body>"
    "<nav><b><bdi>{title}</bdi></b>{links}</nav>{notes}"
    '<iframe name="shown" src="{first}" title="{title}"></iframe></body></html>'
)


class BoundedRequest(Request):
    """Reads no larger body, whether its length is told before or not."""

    max_content_length = MOST_BYTES


class DashboardApp:
    """Answers requests.

    Args:
        title: of the page.
        dashboards: in the order they are offered.
        notes: what a reader should know, each a sentence.
        scorecard: a page that is shown first, if there is one.
    """

    def __init__(self, title: str, dashboards: list[Dashboard], notes: Iterable[str], scorecard: Path) -> None:
        self.title, self.dashboards, self.notes, self.scorecard = title, dashboards, tuple(notes), scorecard
        self.script = frame_script().encode()
        self.hosts: set[str] = set()
        # The analysis keeps the metric that was asked for in one place.
        self.one_at_a_time = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = BoundedRequest(environ)
        try:
            response = self._answer(request)
        except HTTPException as error:
            response = Response(f"{error.code} {error.name}: {error.description}\n", error.code)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["Cache-Control"] = "no-store"
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if request.host not in self.hosts:
            raise Forbidden(f"this server answers as {' and '.join(sorted(self.hosts))}, not as {request.host!r}.")
        parts = [part for part in request.path.split("/") if part]
        if request.method == "POST" and len(parts) == 3 and parts[0] == "dashboard":
            return self._computed(request, self._dashboard(parts[1]), parts[2])
        if request.method not in ("GET", "HEAD"):
            raise NotFound
        if not parts:
            return _page(self._shell())
        if parts == ["health"]:
            return _json({"status": "ok", "dashboards": [one.title for one in self.dashboards]})
        if parts == ["frame.js"]:
            return Response(self.script, mimetype="text/javascript")
        if parts == ["scorecard"] and self.scorecard.exists():
            # It has its own policy, which names its scripts.
            return Response(self.scorecard.read_bytes(), mimetype="text/html")
        if len(parts) == 2 and parts[0] == "dashboard":
            return _page(_document(self._dashboard(parts[1]), f"/dashboard/{parts[1]}"))
        raise NotFound

    def _dashboard(self, place: str) -> Dashboard:
        if not place.isdecimal() or int(place) >= len(self.dashboards):
            raise NotFound
        return self.dashboards[int(place)]

    def _computed(self, request: Request, dashboard: Dashboard, name: str) -> Response:
        origin = request.headers.get("Origin")
        if origin is not None and origin not in {f"http://{host}" for host in self.hosts}:
            raise Forbidden("a page of another site asked.")
        if request.mimetype != "application/json":
            raise BadRequest("a body of JSON is expected.")
        if dashboard.answer is None or name not in ("tree", "matrix", "importances"):
            return _json({"error": "This needs the model, which is not here."})
        try:
            body = json.loads(request.get_data())
        except ValueError as error:
            raise BadRequest("the body is no JSON.") from error
        with self.one_at_a_time:
            return _json(dashboard.answer(f"/{name}", body))

    def _shell(self) -> str:
        offered = [("/scorecard", "Scorecard")] if self.scorecard.exists() else []
        offered += [(f"/dashboard/{place}", one.title) for place, one in enumerate(self.dashboards)]
        links = "".join(f'<a href="{path}" target="shown">{html.escape(title)}</a>' for path, title in offered)
        notes = [*self.notes, *(note for one in self.dashboards for note in one.notes)]
        listed = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
        return SHELL.format(
            title=html.escape(self.title),
            links=links,
            first=offered[0][0] if offered else "about:blank",
            notes=f"<ul>{listed}</ul>" if notes else "",
        )


def serve(
    dashboards: list[Dashboard], notes: Iterable[str], folder: Path, port: int, ready: Callable[[str], None]
) -> None:
    """Serves until the process is ended.

    Args:
        dashboards: what is served.
        notes: what a reader should know.
        folder: what was given; its scorecard is shown first, if there is one.
        port: where to listen; 0 for a free one.
        ready: is told the address once requests are answered.
    """
    name = json.loads((folder / "config.json").read_text(encoding="utf-8"))["name"]
    app = DashboardApp(f"Responsible AI: {name}", dashboards, notes, folder / SCORECARD)
    server = make_server(HOST, port, app, threaded=True)
    app.hosts = {f"{name}:{server.server_port}" for name in (HOST, "localhost")}
    # The socket listens already: a request that comes now waits for the loop below.
    ready(f"http://{HOST}:{server.server_port}/")
    server.serve_forever()


def _document(dashboard: Dashboard, live: str) -> str:
    return (
        f"{HEAD}<title>{html.escape(dashboard.title)}</title><style>html {{ color-scheme: light; }} body {{ margin: 0; "
        "background: #fff; }</style></head><body>"
        f'<script type="application/json" id="given">{frame_data(dashboard, live)}</script>'
        '<script src="/frame.js"></script></body></html>'
    )


def _page(text: str) -> Response:
    return Response(text, mimetype="text/html", headers={"Content-Security-Policy": POLICY})


def _json(value: Any) -> Response:
    return Response(json.dumps(value), mimetype="application/json")
