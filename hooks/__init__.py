"""The hooks, a module for each; `contract` is what they share."""

from flask import Flask

from . import (
    events,
    password_import,
    registration,
    saml,
    telephony,
    token,
    user_import,
)

# In the order of Okta's own list. A hook is registered by its line here.
HOOKS = (
    events,
    registration,
    token,
    saml,
    password_import,
    telephony,
    user_import,
)


def register_hooks(app: Flask) -> None:
    for hook in HOOKS:
        app.register_blueprint(hook.bp)
