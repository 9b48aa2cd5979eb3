"""Tokens with one fault each, named after it."""

import time

from local_okta.authorization_server import LocalOkta, new_key
from local_okta.endpoints import TOKEN_LIFETIME


def _expired(okta: LocalOkta) -> str:
    issued = int(time.time()) - 2 * TOKEN_LIFETIME
    return okta.issue(iat=issued, exp=issued + TOKEN_LIFETIME)


def _tampered(okta: LocalOkta) -> str:
    header, _, signature = okta.issue().split(".")
    _, other_claims, _ = okta.issue(sub="somebody-else").split(".")
    return f"{header}.{other_claims}.{signature}"


WRONG_TOKENS = {
    "expired token": _expired,
    "wrong audience": lambda okta: okta.issue(aud="api://other"),
    "wrong client": lambda okta: okta.issue(cid="0oaSomebodyElse"),
    "missing scope": lambda okta: okta.issue(scp=["other"]),
    "foreign key": lambda okta: okta.sign(okta.claims(), key=new_key()),
    "tampered token": _tampered,
    "unsigned token": lambda okta: okta.sign(okta.claims(), {"alg": "none"}),
}
