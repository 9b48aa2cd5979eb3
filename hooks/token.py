"""Token inline hook: adds a patient ID to a token while Okta is minting it.

Reads    data.identity.claims.preferred_username, else data.context.user.profile.login
Answers  com.okta.identity.patch, add /claims/extPatientId; 204 if there is nothing to add
Guide    https://developer.okta.com/docs/guides/token-inline-hook/
"""

from flask.typing import ResponseReturnValue

from .contract import NO_CHANGE, HookBlueprint, Payload, add_claim, answer, command
from .sample_data import patient_id_for_token

# identity is the ID token. ("identity", "access") adds the claim to the access token as well.
ENRICHED_TOKENS = ("identity",)

bp = HookBlueprint("token", __name__, kind="inline", event_type="com.okta.oauth2.tokens.transform")


@bp.post("/tokenHook")
def enrich_tokens() -> ResponseReturnValue:
    payload = Payload.current()
    data = payload.object("data")
    # Okta drops the whole answer if it has a command for a token that was not requested.
    tokens = [token for token in ENRICHED_TOKENS if data.get(token) is not None]
    for token in tokens:
        payload.object(f"data.{token}")
    if not tokens:
        return NO_CHANGE
    if data.get("identity") is None and "user" not in payload.object("data.context"):
        # The client credentials flow: the access token does not belong to a user.
        return NO_CHANGE
    _, login = payload.first_text(
        "data.identity.claims.preferred_username", "data.context.user.profile.login"
    )
    claims = extra_claims(login)
    if not claims:
        return NO_CHANGE
    operations = [add_claim(name, value) for name, value in claims.items()]
    return answer(*(command(f"com.okta.{token}.patch", operations) for token in tokens))


def extra_claims(login: str) -> dict[str, str]:
    """The rule: which claims to add to a user's tokens."""
    patient_id = patient_id_for_token(login)
    return {} if patient_id is None else {"extPatientId": patient_id}
