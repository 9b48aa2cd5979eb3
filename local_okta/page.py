"""The page of `flask okta serve`: what Okta sends and what comes back, in a browser.

It is served beside the issuer's endpoints, on the same port. A web page in another tab can do
nothing here: every request must name this host (so an attacker's host name that points here is of
no use), and what a browser requests on behalf of another origin is refused, unless it only opens
the page.

The issuer can be told to misbehave. *Slow* means that it answers after Okta has given up, *down*
that it closes each connection without an answer. Both affect everything that an issuer serves,
including the token endpoint, but not this page. `page_requests` says where it gets a token then.
"""

import time
from collections.abc import Callable
from threading import Lock

from click import ClickException
from flask import Blueprint, Response, abort, request
from werkzeug.exceptions import HTTPException

from local_okta import client
from local_okta.authorization_server import HOST, LocalOkta
from local_okta.endpoints import KEY_ROTATION, METADATA_PATHS, PREFIX
from local_okta.management import API
from local_okta.page_requests import AUTHENTICATIONS, BadInput, Sender
from local_okta.samples import SAMPLES
from local_okta.service import SERVICE_URL

ISSUER_MODES = ("answers", "slow", "down")
# Longer than Okta and the service's guard wait.
SLOW_SECONDS = client.SECONDS + 1
TOO_LATE = "local_okta.too_late"
ACTIVITY_KEPT = 100
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
# The requests to the issuer, as the page words them.
ISSUER_PATHS = dict.fromkeys(METADATA_PATHS, "metadata requested") | {
    f"{PREFIX}/v1/keys": "keys requested",
    f"{PREFIX}/v1/token": "access token requested",
}
REQUESTED = ISSUER_PATHS | {KEY_ROTATION: "new signing key requested"}


class Activity:
    """What happened, newest last: requests to the issuer, and what this page sent."""

    def __init__(self):
        self._entries: list[dict] = []
        self._last = 0
        self._lock = Lock()

    def add(self, kind: str, text: str, outcome: str, *, good: bool = True) -> None:
        with self._lock:
            # Microseconds: the numbers must keep growing for a page that outlives this process.
            self._last = max(self._last + 1, time.time_ns() // 1000)
            entry = {"id": self._last, "time": time.strftime("%H:%M:%S"), "kind": kind}
            self._entries.append(entry | {"text": text, "outcome": outcome, "good": good})
            del self._entries[:-ACTIVITY_KEPT]

    def after(self, last: int) -> list[dict]:
        return [entry for entry in self._entries if entry["id"] > last]


class Issuer:
    """Wraps the local Okta's WSGI application: slow or down, as the page has chosen."""

    def __init__(self, wsgi_app, refused: Callable[[str, str], None]):
        self.mode = "answers"
        self._wsgi_app = wsgi_app
        self._refused = refused

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"] in ISSUER_PATHS:
            if self.mode == "slow":
                environ[TOO_LATE] = True
                time.sleep(SLOW_SECONDS)
            if self.mode == "down":
                self._refused(environ["REQUEST_METHOD"], environ["PATH_INFO"])
                # werkzeug thinks that the client has gone, and closes the connection.
                raise ConnectionAbortedError
        return self._wsgi_app(environ, start_response)


def add_page(
    okta: LocalOkta, service_context: Callable, show: Callable[[str, str, str], None]
) -> None:
    """Add the page to the endpoints of `okta`, before it starts.

    `service_context` returns an app context of the service, whose settings the page reads. `show`
    is called for each request to the issuer, with its method, its path and the outcome.
    """
    page = Blueprint("page", __name__, static_folder="page", static_url_path="/page")
    activity = Activity()
    sender = Sender(okta, service_context, issuer_is_down=lambda: issuer.mode == "down")

    def answered(method: str, path: str, outcome: str, *, good: bool = True) -> None:
        show(method, path, outcome)
        activity.add("issuer", REQUESTED[path], outcome, good=good)

    def no_answer(method: str, path: str) -> None:
        answered(method, path, "no answer", good=False)

    issuer = Issuer(okta.app.wsgi_app, no_answer)
    okta.app.wsgi_app = issuer

    _protect(okta)

    @okta.app.after_request
    def note(response: Response) -> Response:
        if request.path in REQUESTED:
            late = TOO_LATE in request.environ
            outcome = "too late" if late else str(response.status_code)
            good = response.status_code < 400 and not late
            answered(request.method, request.path, outcome, good=good)
        elif request.path.startswith((f"{API}/", "/oauth2/")):
            outcome, good = str(response.status_code), response.status_code < 400
            show(request.method, request.path, outcome)
            if request.method != "GET":
                text = f"{request.method} {request.path.removeprefix(f'{API}/')}"
                activity.add("issuer", text, outcome, good=good)
        return response

    @page.get("/")
    def index():
        return page.send_static_file("index.html")

    @page.get("/page/state")
    def state():
        samples = [
            {
                "name": sample.name,
                "kind": sample.kind,
                "about": sample.about,
                "path": sample.path,
                "payload": sample.payload,
            }
            for sample in SAMPLES.values()
        ]
        return sender.situation() | {
            "samples": samples,
            "authentications": AUTHENTICATIONS,
            "service": SERVICE_URL,
            "issuer": issuer.mode,
            "issuer_modes": ISSUER_MODES,
        }

    @page.get("/page/activity")
    def activity_after():
        return {
            "entries": activity.after(request.args.get("after", 0, int)),
            "issuer": issuer.mode,
            "registered": okta.management.state.hooks(),
        }

    @page.post("/page/send")
    def send():
        result = sender.send(_texts("service", "path", "hook", "authentication", "request"))
        what = f"{'sent' if result['sent'] else 'not sent'} to {result['path']}"
        response, good = result["response"], result["verdict"]["accepted"]
        outcome = str(response["status"]) if response else result["steps"][-1]["label"]
        activity.add("sent", what, outcome, good=good)
        return result

    @page.post("/page/verify")
    def verify():
        rows = sender.verify(_texts("service"))
        for row in rows:
            text = f"sent challenge to {row['name']}"
            activity.add("sent", text, row["status"], good=row["accepted"])
        return {"rows": rows}

    @page.post("/page/rotate-keys")
    def rotate_keys():
        _texts()
        kid = okta.rotate_keys()
        activity.add("page", "keys rotated", f"{kid[:8]}…")
        return {"kid": kid}

    @page.post("/page/issuer")
    def set_issuer():
        mode = _texts("mode")["mode"]
        if mode not in ISSUER_MODES:
            abort(400)
        issuer.mode = mode
        activity.add("page", "issuer", mode, good=mode == "answers")
        return {"issuer": mode}

    @page.errorhandler(BadInput)
    def name_the_field(error: BadInput):
        return {"errors": {error.field: str(error)}, "position": error.position}

    okta.app.register_blueprint(page)


def _protect(okta: LocalOkta) -> None:
    @okta.app.before_request
    def guard() -> None:
        own = HOST if okta.port == 80 else f"{HOST}:{okta.port}"
        if request.headers.get("Host") != own:
            abort(403, f"This server answers only at http://{own}/.")
        opens_page = request.method == "GET" and request.headers.get("Sec-Fetch-Mode") == "navigate"
        foreign = (
            request.headers.get("Origin", f"http://{own}") != f"http://{own}"
            or request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none")
        )  # fmt: skip
        if foreign and not opens_page:
            abort(403, "Another web page asks for this, so nothing was done.")

    @okta.app.after_request
    def restrict(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    @okta.app.errorhandler(HTTPException)
    def refuse(error: HTTPException):
        return {"error": error.description}, error.code

    @okta.app.errorhandler(ClickException)
    def name_the_sample(error: ClickException):
        return {"error": error.message}, 500


def _texts(*names: str) -> dict[str, str]:
    """The members of the JSON object that the page's script sends. A form is answered with 415."""
    try:
        body = request.get_json()
    except RecursionError:
        abort(400, "This is nested too deeply.")
    if not isinstance(body, dict) or not all(isinstance(body.get(name), str) for name in names):
        abort(400, f"A JSON object with {', '.join(names)} is needed.")
    return {name: body[name] for name in names}
