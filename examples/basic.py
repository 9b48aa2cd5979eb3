"""HTTP Basic: check the user and the password that Okta sends with a hook.

Set BASIC_AUTH_USER and BASIC_AUTH_PASSWORD in the environment or in .env, then start it with:

    flask --app examples/basic.py run
"""

import os
import sys
from hmac import compare_digest

from flask import Flask, Response, abort, request
from flask_httpauth import HTTPBasicAuth

MISSING = "Set BASIC_AUTH_USER and BASIC_AUTH_PASSWORD in .env, and start this with flask run."
USER = os.environ.get("BASIC_AUTH_USER") or sys.exit(MISSING)
PASSWORD = os.environ.get("BASIC_AUTH_PASSWORD") or sys.exit(MISSING)

app = Flask(__name__)
auth = HTTPBasicAuth()


@auth.verify_password
def verify_password(user: str, password: str) -> bool:
    # Both are always compared, so the time shows neither which one was wrong nor how much of it.
    user_matches = compare_digest(user.encode(), USER.encode())
    password_matches = compare_digest(password.encode(), PASSWORD.encode())
    return user_matches and password_matches


@app.before_request
def require_password() -> Response | None:
    """Check every request, before Flask checks whether its path exists."""
    # What login_required does, but for OPTIONS requests too. verify_password compares, so there is
    # no stored password to pass on.
    matches = auth.authenticate(auth.get_auth(), None)
    return None if matches else auth.auth_error_callback(401)


@app.get("/userDeactivated")
def verify_endpoint() -> dict[str, str]:
    """Answer the one-time check: Okta sends no events before it."""
    challenge = request.headers.get("X-Okta-Verification-Challenge")
    if not challenge:
        abort(400)
    return {"verification": challenge}


@app.post("/userDeactivated")
def user_deactivated() -> tuple[str, int]:
    for event in request.json["data"]["events"]:
        # Without --debug, Flask's logger shows only warnings and errors.
        app.logger.warning("%s was deactivated", event["target"][0]["alternateId"])
    return "", 204
