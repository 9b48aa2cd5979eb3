"""User import inline hook: decides what happens to each user that Okta imports from an app.

Reads    data.context.matches and .conflicts, data.action.result, data.user.id and .profile,
         data.appUser.profile
Answers  com.okta.action.update LINK_USER with com.okta.user.update for a user who is matched;
         com.okta.user.profile.update for a login that is taken; 204 in all other cases
Guide    https://developer.okta.com/docs/reference/import-hook/
"""

from flask.typing import ResponseReturnValue

from .contract import NO_CHANGE, HookBlueprint, Payload, answer, command

bp = HookBlueprint("user_import", __name__, kind="inline", event_type="com.okta.import.transform")


@bp.post("/userImport")
def import_user() -> ResponseReturnValue:
    payload = Payload.current()
    payload.object("data")
    matched_user = payload.text("data.user.id", optional=True)
    conflicts = payload.list("data.context.conflicts", optional=True) or []
    new_login = free_login(
        taken=payload.text("data.user.profile.login", optional=True) or "",
        user_name=payload.text_or_number("data.appUser.profile.userName", optional=True) or "",
        email=payload.text("data.appUser.profile.email", optional=True) or "",
        external_id=payload.text_or_number("data.appUser.profile.externalId", optional=True) or "",
    )
    # The rule below does not use these. If they have another type, the request is not from Okta.
    payload.list("data.context.matches", optional=True)
    payload.text("data.action.result", optional=True)

    if matched_user:
        return answer(
            command("com.okta.action.update", {"result": "LINK_USER"}),
            command("com.okta.user.update", {"id": matched_user}),
        )
    if "login" in conflicts and new_login:
        return answer(command("com.okta.user.profile.update", {"login": new_login}))
    return NO_CHANGE


def free_login(taken: str, user_name: str, email: str, external_id: str) -> str | None:
    """The rule: a new login for a user whose login is taken in Okta; None if there is no way.

    User names are unique in an app, so the login starts with the user name. Okta requires a domain
    after it: from the user name itself, the app's e-mail address or the taken login. If the result
    is the taken login again, the app's ID of the user is added to the name.
    """
    name, domain = _split(user_name)
    domain = domain or _split(email)[1] or _split(taken)[1]
    if not (name and domain):
        return None
    login = f"{name}@{domain}"
    if login.lower() != taken.lower():
        return login
    return f"{name}.{external_id}@{domain}" if external_id else None


def _split(address: str) -> tuple[str, str]:
    """Name and domain; without an "@" the domain is empty."""
    name, at, domain = address.rpartition("@")
    return (name, domain) if at else (address, "")
