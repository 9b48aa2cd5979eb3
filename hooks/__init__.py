"""The hooks, one module each. They share `contract`."""

from importlib import import_module
from typing import Any

from flask import Flask

# In the order of Okta's own list. A line here registers a hook.
HOOKS = (
    "events",
    "registration",
    "token",
    "saml",
    "password_import",
    "telephony",
    "user_import",
)


def register_hooks(app: Flask) -> None:
    for hook in HOOKS:
        app.register_blueprint(_module_of(hook).bp)


def _module_of(hook: str) -> Any:
    name = f"{__name__}.{hook}"
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
    raise ImportError(
        f'hooks/__init__.py lists "{hook}", but there is no hooks/{hook}.py. If you have removed '
        "the hook, delete its line there too. docs/remove-a-hook.md lists what else belongs to it."
    )
