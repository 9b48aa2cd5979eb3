"""The hooks, a module for each; `contract` is what they share."""

from flask import Flask

from . import events, password_import, registration, saml, telephony, token, user_import


def register_hooks(app: Flask) -> None:
    """Add all hooks, in the order of Okta's own list."""
    for hook in (events, registration, token, saml, password_import, telephony, user_import):
        app.register_blueprint(hook.bp)
