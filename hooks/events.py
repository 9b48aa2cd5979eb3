"""Event hooks: Okta reports what has happened. The answer cannot change it.

Reads    every item of data.events: eventType, uuid, target[].alternateId
Answers  204, empty, once all of them are stored; 503 if they cannot be stored;
         {"verification": …} to Okta's one-time check of the address
Guide    https://developer.okta.com/docs/guides/event-hook-implementation/

A background worker passes each stored event to its handler, at least once and in any order.
docs/events.md explains what that means for a handler.
"""

import logging
from typing import Any

from flask import Response, current_app, jsonify, request
from flask.blueprints import BlueprintSetupState
from werkzeug.exceptions import ServiceUnavailable

from inbox import background
from inbox.background import Background
from inbox.inbox import key_of
from inbox.intake import Intake, NotStored

from .contract import HookBlueprint, Payload, UnreadableRequest, cause, is_text

CHALLENGE_HEADER = "X-Okta-Verification-Challenge"

RETRY_AFTER_SECONDS = 5

bp = HookBlueprint("events", __name__, kind="event")
log = logging.getLogger(__name__)


@bp.record_once
def add_inbox(state: BlueprintSetupState) -> None:
    app: Any = state.app  # Flask's type for it is the class that Flask derives from.
    settings = app.config["SETTINGS"]
    intake = app.extensions["event_intake"] = Intake(settings.events_database_url)
    background.prepare(Background(app, intake, HANDLERS, settings.event_threads))


@bp.get("/userDeactivated")
@bp.get("/userCreated")
def verify() -> Response:
    """Answer Okta's one-time check of this address: echo the value that Okta sends."""
    challenge = request.headers.get(CHALLENGE_HEADER)
    if not challenge:
        summary = f"{CHALLENGE_HEADER} is missing"
        missing = cause(summary, "MISSING_FIELD", CHALLENGE_HEADER, location_type="header")
        raise UnreadableRequest(summary, [missing])
    return jsonify(verification=challenge)


@bp.post("/userDeactivated")
@bp.post("/userCreated")
def receive() -> tuple[str, int]:
    """Store events of every type, at both addresses. The types to send are chosen in Okta."""
    items = Payload.current().list("data.events")
    readable = [item for item in items if is_event(item)]
    if unreadable := len(items) - len(readable):
        log.warning("events not readable", extra={"fields": {"items": unreadable}})
    for event in readable:
        if event["eventType"] not in HANDLERS:
            log.info("no handler", extra={"fields": fields_of(event)})
    events = {key_of(event): event for event in readable if event["eventType"] in HANDLERS}
    try:
        new = current_app.extensions["event_intake"].store(events) if events else ()
    except NotStored as reason:
        log.error("events not stored", extra={"fields": {"error": reason}})
        raise ServiceUnavailable(retry_after=RETRY_AFTER_SECONDS) from None
    for key, event in events.items():
        outcome = "event stored" if key in new else "event already stored"
        log.info(outcome, extra={"fields": {"type": event["eventType"], "uuid": key}})
    return "", 204


def is_event(item: object) -> bool:
    return isinstance(item, dict) and is_text(item.get("eventType"))


def user_deactivated(event: dict[str, Any]) -> None:
    """For example, end the user's sessions in another system."""
    log.info("user deactivated", extra={"fields": fields_of(event) | {"user": users_of(event)}})


def user_created(event: dict[str, Any]) -> None:
    """For example, open the user's account in another system."""
    log.info("user created", extra={"fields": fields_of(event) | {"user": users_of(event)}})


HANDLERS = {
    "user.lifecycle.deactivate": user_deactivated,
    "user.lifecycle.create": user_created,
}
"""A function for each type of event: https://developer.okta.com/docs/reference/api/event-types/"""


def users_of(event: dict[str, Any]) -> str | None:
    """The logins of the users among the event's targets; of all targets if none is a user."""
    listed = event.get("target")
    targets = listed if isinstance(listed, list) else []
    targets = [target for target in targets if isinstance(target, dict)]
    users = [target for target in targets if target.get("type") == "User"] or targets
    logins = [user.get("alternateId") for user in users]
    return ", ".join(login for login in logins if is_text(login)) or None


def fields_of(event: dict[str, Any]) -> dict[str, Any]:
    """The log's fields for any event."""
    uuid = event.get("uuid")
    return {"type": event["eventType"], "uuid": uuid if is_text(uuid) else None}
