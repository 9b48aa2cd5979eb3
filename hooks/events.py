"""Event hooks: Okta reports what has happened. Nothing in the answer changes it.

Reads    every item of data.events: eventType, uuid, target[].alternateId
Answers  204, empty; {"verification": …} to Okta's one-time check of the address
Guide    https://developer.okta.com/docs/guides/event-hook-implementation/

Okta delivers an event at least once and in any order. A handler that must not act twice on the
same event remembers its `uuid`.
"""

import logging
import traceback
from pathlib import Path

from flask import jsonify, request

from .contract import (
    HookBlueprint,
    Payload,
    UnreadableRequest,
    cause,
    error_response,
    is_text,
)

CHALLENGE_HEADER = "X-Okta-Verification-Challenge"

bp = HookBlueprint("events", __name__, kind="event")
log = logging.getLogger("okta_hooks.events")


@bp.get("/userDeactivated")
@bp.get("/userCreated")
def verify():
    """Okta's one-time check: whoever runs this address can read what Okta sends, and echoes it."""
    challenge = request.headers.get(CHALLENGE_HEADER)
    if not challenge:
        summary = f"{CHALLENGE_HEADER} is missing"
        missing = cause(summary, "MISSING_FIELD", CHALLENGE_HEADER, location_type="header")
        raise UnreadableRequest(summary, [missing])
    return jsonify(verification=challenge)


@bp.post("/userDeactivated")
@bp.post("/userCreated")
def receive():
    """Both addresses take every type of event: which types come is chosen in Okta."""
    events = Payload.current().list("data.events")
    handled = [handle(event) for event in events]
    if not all(handled):
        # After a 5xx Okta delivers the whole call again.
        return error_response(500, "Not every event could be handled")
    return "", 204


def handle(event: object) -> bool:
    """Give one event to the handler of its type; False if the handler broke."""
    if not (isinstance(event, dict) and is_text(event.get("eventType"))):
        # Not False: a second delivery would bring the same.
        log.warning("event not readable")
        return True
    handler = HANDLERS.get(event["eventType"])
    if handler is None:
        log.info("no handler", extra={"fields": fields_of(event)})
        return True
    try:
        handler(event)
    except Exception as exc:
        # Not its message, which may quote the event.
        frame = traceback.extract_tb(exc.__traceback__)[-1]
        broke = f"{type(exc).__name__} at {Path(frame.filename).name}:{frame.lineno}"
        log.error("handler broke", extra={"fields": fields_of(event) | {"error": broke}})
        return False
    return True


def user_deactivated(event: dict) -> None:
    """The place to end the user's sessions elsewhere, say."""
    log.info("user deactivated", extra={"fields": fields_of(event) | {"user": users_of(event)}})


def user_created(event: dict) -> None:
    """The place to open the user's account elsewhere, say."""
    log.info("user created", extra={"fields": fields_of(event) | {"user": users_of(event)}})


HANDLERS = {
    "user.lifecycle.deactivate": user_deactivated,
    "user.lifecycle.create": user_created,
}
"""A function for each type of event: https://developer.okta.com/docs/reference/api/event-types/"""


def users_of(event: dict) -> str | None:
    """The logins of those whom the event is about: of its targets that are users, if any is."""
    listed = event.get("target")
    targets = listed if isinstance(listed, list) else []
    targets = [target for target in targets if isinstance(target, dict)]
    users = [target for target in targets if target.get("type") == "User"] or targets
    logins = [user.get("alternateId") for user in users]
    return ", ".join(login for login in logins if is_text(login)) or None


def fields_of(event: dict) -> dict:
    """What the log says of any event."""
    uuid = event.get("uuid")
    return {"type": event["eventType"], "uuid": uuid if is_text(uuid) else None}
