"""The steps of a request between Okta, token endpoint, guard and hook, and notes on the outcome.

The page sees only Okta's side of the exchange. What it says about guard and hook follows from the
answer: a 401 or 403 with a challenge comes from the guard, and so does a 503 to a token, since it
means that there was no key to check it with. Every other request has passed the guard.
"""

from collections.abc import Iterator
from http.client import responses

from local_okta.client import ANOTHER_PROGRAM, SECONDS, Answer

OKTA, TOKEN_ENDPOINT, GUARD, HOOK = COLUMNS = ("Okta", "Token endpoint", "Guard", "Hook")
SHOWS = {
    "Client secret": ("client secret", "Okta asks the token endpoint with the client's secret"),
    "Private key": ("signed assertion", "Okta asks the token endpoint with a JWT that it signed"),
}
WITHOUT_ISSUER = (
    "Okta itself would send nothing now, since the issuer is down and gives it no token. This page "
    "has signed one, to show that the service keeps working with the keys that it has."
)
SENDS = {"Basic": "user and password", "Bearer": "token"}


def ended_at_guard(answer: Answer) -> bool:
    with_token = answer.sent.get("Authorization", "").startswith("Bearer ")
    return answer.status in (401, 403) or (answer.status == 503 and with_token)


def not_sent(answer: Answer) -> str | None:
    """Why the service got no request, if it got none."""
    if answer.was_sent:
        return None
    if answer.no_token and answer.timed_out:
        return f"Nothing was sent: Okta waited {SECONDS:g} seconds for its access token."
    missing = "access token" if answer.no_token else "connection to the service"
    return f"Nothing was sent: there was no {missing}."


def steps(authentication: str, answer: Answer, *, made_here: bool) -> list[dict]:
    """The steps in order, those of a first attempt before those of the second."""
    if answer.before is None:
        return list(_attempt(authentication, answer, answer.milliseconds, made_here))
    first = answer.before
    again = _step(OKTA, OKTA, "retry", "Okta retries once, as after any time-out or 5xx")
    left = answer.milliseconds - first.milliseconds
    return [
        *_attempt(authentication, first, first.milliseconds, made_here),
        again,
        *_attempt(authentication, answer, left, made_here),
    ]


def notes(
    kind: str,
    authentication: str,
    answer: Answer,
    token: dict | None,
    lines: list[str],
    *,
    made_here: bool,
) -> list[str]:
    """Reasons, and what to do. `lines` make the service accept the local Okta's tokens."""
    return [
        *([WITHOUT_ISSUER] if made_here and authentication in SHOWS else []),
        *_mismatch(kind, authentication, answer, token, "\n".join(lines)),
        *_refusal(answer, token),
    ]


def _mismatch(
    kind: str, authentication: str, answer: Answer, token: dict | None, lines: str
) -> Iterator[str]:
    """What does not match: authentication, settings, the service."""
    challenge = answer.headers.get("WWW-Authenticate", "").partition(" ")[0].lower()
    if answer.status in (200, 204) and token and not token["good"]:
        yield (
            "The service accepts this token, so its settings are not those that flask okta serve "
            "has read: restart both."
        )
    if answer.is_from_another_program:
        yield ANOTHER_PROGRAM
        return
    if answer.status != 401:
        return
    if token is None and challenge == "bearer":
        yield (
            "The service runs with AUTH_MODE=oauth and wants a token here: choose Client secret."
        )
    elif authentication == "Basic":
        yield (
            "The service has a different user or password than flask okta serve has read from the "
            "settings: restart both, in the same folder."
        )
    elif token and challenge == "basic" and kind == "event":
        yield (
            "Okta can send event hooks only with Basic, so the service does not look at a token "
            "here: choose Basic."
        )
    elif token and challenge == "basic":
        yield (
            "The service runs with AUTH_MODE=basic and does not look at a token. To try tokens, "
            f"put these lines into .env and restart the service:\n{lines}"
        )
    elif token and token["good"]:
        yield (
            "Nothing is wrong with this token, so the service trusts another issuer or client. Put "
            f"these lines into .env and restart the service:\n{lines}"
        )


def _refusal(answer: Answer, token: dict | None) -> Iterator[str]:
    if answer.is_from_another_program:
        return
    if answer.status in (401, 403):
        phrase = responses[answer.status]
        hint = " What is wrong with this token is marked under Token."
        yield (
            f"The answer says no more than “{phrase}”, so that an attacker learns nothing from it. "
            "The reason is in the service's log."
            f"{hint if token and not token['good'] else ''}"
        )
    elif ended_at_guard(answer):
        yield (
            "The service has no key for this token and cannot get one now. So it neither accepts "
            "the request nor calls the token wrong: after a 5xx, Okta may try again."
        )


def _attempt(authentication: str, answer: Answer, total: int, made_here: bool) -> Iterator[dict]:
    if made_here:
        yield _made_here(authentication)
    elif authentication in SHOWS:
        yield _step(OKTA, TOKEN_ENDPOINT, *SHOWS[authentication])
        if answer.no_token:
            yield _nothing(TOKEN_ENDPOINT, answer, total, "token")
            return
        came = "The token endpoint issues an access token"
        yield _step(TOKEN_ENDPOINT, OKTA, "access token", came, answer.token_milliseconds)
    left = total - (answer.token_milliseconds or 0)
    if not answer.was_sent:
        yield _nothing(GUARD, answer, left, "connection")
        return
    sent = SENDS.get(answer.sent.get("Authorization", "").partition(" ")[0], "no credentials")
    yield _step(OKTA, GUARD, f"POST, {sent}", f"Okta sends the request with {sent}")
    yield from _end(answer, left)


def _end(answer: Answer, left: int) -> Iterator[dict]:
    """What the service did, as far as its answer shows."""
    line = answer.status_line
    if answer.status is None:
        yield _nothing(GUARD, answer, left, "answer")
    elif answer.is_from_another_program:
        text = f"A program other than this service seems to answer: {line}"
        yield _step(GUARD, OKTA, line, text, left, "refused")
    elif ended_at_guard(answer):
        text = f"The guard refuses it, and the hook does not see it: {line}"
        yield _step(GUARD, OKTA, line, text, left, "refused")
    else:
        yield _step(GUARD, HOOK, "accepted", "The guard accepts it")
        missing = answer.status in (404, 405)
        text = f"There is no hook at this path: {line}" if missing else f"The hook answers {line}"
        outcome = "good" if answer.status in (200, 204) else "refused"
        yield _step(HOOK, OKTA, line, text, left, outcome)


def _made_here(authentication: str) -> dict:
    if authentication in SHOWS:
        label = "token signed by this page (the issuer is down)"
        return _step(OKTA, OKTA, label, "The issuer is down, so this page signs a token itself")
    text = "The page makes the wrong token itself; the token endpoint issues none"
    return _step(OKTA, OKTA, "wrong token, made by this page", text)


def _nothing(column: str, answer: Answer, milliseconds: int, missing: str) -> dict:
    """There is no token, no connection or no answer."""
    if answer.timed_out:
        text = f"Okta gives up: {SECONDS:g} seconds have passed, and there is no {missing}"
        if missing == "answer":
            text += ". It cannot be seen from outside whether the guard or the hook took that long"
        return _step(column, OKTA, f"no {missing} in {SECONDS:g} s", text, milliseconds, "silent")
    text = f"There is no {missing}: {answer.error}"
    return _step(column, OKTA, f"no {missing}", text, milliseconds, "refused")


def _step(
    start: str,
    end: str,
    label: str,
    text: str,
    milliseconds: int | None = None,
    outcome: str = "good",
) -> dict:
    return {
        "from": COLUMNS.index(start),
        "to": COLUMNS.index(end),
        "label": label,
        "text": text if milliseconds is None else f"{text}, after {milliseconds} ms",
        "milliseconds": milliseconds,
        "outcome": outcome,
    }
