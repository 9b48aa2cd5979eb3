"""What the app, options, settings and environment say, checked before anything is sent."""

import base64
import os
import re
import sys
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import click
from dotenv import dotenv_values
from flask import Flask

from hooks.contract import HookBlueprint
from settings import PROJECT, Settings
from settings.values import is_on_this_machine

from .client import API

TOKENS = {"OKTA_API_TOKEN": "SSWS", "OKTA_ACCESS_TOKEN": "Bearer"}
TELEPHONY = "com.okta.telephony.provider"
# Without a user, a query or a fragment.
ADDRESS = re.compile(
    r"(https?://([\w.-]+|\[[\w:.]+\])(?::[1-9]\d{0,4})?)((?:/[\w.~%:@!$&'()*+,;=/-]*)?)", re.ASCII
)


class WrongInput(click.ClickException):
    """Nothing was sent."""


@dataclass(frozen=True)
class Hook:
    """A hook of the service. `name` is its blueprint's, `type` Okta's type of an inline hook."""

    name: str
    path: str
    type: str | None = None
    event_types: tuple[str, ...] = ()

    @property
    def names(self) -> set[str]:
        """The names that `--hooks` takes, with dashes."""
        return {self.name, self.path.strip("/").replace("_", "-")}

    @property
    def is_event(self) -> bool:
        return self.type is None

    @property
    def is_telephony(self) -> bool:
        return self.type == TELEPHONY


@dataclass(frozen=True)
class Choices:
    """What this run is about."""

    settings: Settings
    prefix: str
    url: str
    hooks: list[Hook]
    auth: str
    header: str | None = field(repr=False)
    """The Basic header that Okta sends."""

    @property
    def scope(self) -> str:
        return self.settings.okta_scope or "hooks"

    @property
    def server(self) -> str:
        """The path of the authorization server. The org's own is not one."""
        server = self.settings.okta_issuer.partition("/oauth2/")[2]
        return f"{API}/authorizationServers/{server}" if server else ""

    def name_of(self, path: str) -> str:
        """The name in Okta of the hook with this path."""
        return f"{self.prefix}: {path.strip('/')}"


def at_terminal() -> bool:
    return sys.stdin.isatty()


def choices_of(app: Flask, options: dict[str, Any]) -> Choices:
    """Raises WrongInput."""
    settings: Settings = app.config["SETTINGS"]
    all_hooks, prefix = hooks_of(app), options["name"]
    if not settings.okta_issuer:
        raise WrongInput("OKTA_ISSUER is not set, and it says which org to use")
    if not prefix.isprintable() or not 0 < len(prefix) <= 100 or prefix != prefix.strip():
        raise WrongInput(
            "--name must be 1 to 100 printable characters, without a space at either end"
        )
    hooks = named(all_hooks, options["hooks"])
    has_server = "/oauth2/" in settings.okta_issuer
    if options["remove"]:
        # A private key leaves the most to remove.
        only_hooks = options["hooks"] or options["auth"] == "basic" or not has_server
        auth = "basic" if only_hooks else "private-key"
        return Choices(settings, prefix, "", hooks, auth, None)
    url = checked_url(options["url"], settings.okta_issuer, [hook.path for hook in all_hooks])
    header = basic_header(settings)
    auth = options["auth"] or ("basic" if settings.auth_mode == "basic" else "private-key")
    if auth == "basic" and header is None:
        raise WrongInput("BASIC_AUTH_USER and BASIC_AUTH_PASSWORD are not set: choose a pair")
    if auth != "basic" and not has_server:
        raise WrongInput(
            "OKTA_ISSUER is not the issuer of a custom authorization server, such as "
            "…/oauth2/default: set it to one, or use --auth basic"
        )
    if header is None and options["hooks"] is None:
        hooks = [hook for hook in hooks if not hook.is_event]
    if header is None and any(hook.is_event for hook in hooks):
        raise WrongInput("--hooks: event hooks need BASIC_AUTH_USER and BASIC_AUTH_PASSWORD")
    if all(hook.is_event for hook in hooks):
        # Okta can send them with nothing else, so no app is needed.
        auth = "basic"
    # Without the telephony hook, its settings may be gone as well.
    provider = getattr(settings, "telephony_provider", None)
    if provider in (None, "console") and any(hook.is_telephony for hook in hooks):
        shown = provider or "not set"
        raise WrongInput(f"--hooks: TELEPHONY_PROVIDER is {shown}, so no code would be sent")
    return Choices(settings, prefix, url, hooks, auth, header)


def hooks_of(app: Flask) -> list[Hook]:
    """From the app's routes and blueprints.

    Each inline hook has an address. An event hook takes all types of events at each address, so
    one address is enough for it, and no event is delivered twice.
    """
    hooks: dict[str, Hook] = {}
    for rule in app.url_map.iter_rules():
        blueprint = app.blueprints.get(rule.endpoint.partition(".")[0])
        is_called = "POST" in (rule.methods or ()) and not rule.arguments
        if not isinstance(blueprint, HookBlueprint) or not is_called:
            continue
        name = blueprint.name.replace("_", "-")
        if blueprint.kind == "inline" and blueprint.event_type:
            hooks[rule.rule] = Hook(name, rule.rule, blueprint.event_type)
        elif types := getattr(import_module(blueprint.import_name), "HANDLERS", None):
            hooks.setdefault(name, Hook(name, rule.rule, event_types=tuple(sorted(types))))
    return list(hooks.values())


def named(hooks: list[Hook], option: str | None) -> list[Hook]:
    """The hooks that `--hooks` names, by name or path. Without it, all but telephony."""
    if option is None:
        return [hook for hook in hooks if not hook.is_telephony]
    names = {name.strip().replace("_", "-") for name in option.split(",")}
    if unknown := names.difference(*(hook.names for hook in hooks)):
        known = ", ".join(dict.fromkeys(hook.name for hook in hooks))
        raise WrongInput(f"--hooks: there is no hook “{min(unknown)}”. The hooks are: {known}")
    return [hook for hook in hooks if hook.names & names]


def basic_header(settings: Settings) -> str | None:
    if not settings.basic_auth_password:
        return None
    if "BASIC_AUTH_PASSWORD" in settings.published_passwords:
        raise WrongInput("BASIC_AUTH_PASSWORD is the one printed in Okta's guide: choose another")
    return f"Basic {encoded_pair(settings)}"


def encoded_pair(settings: Settings) -> str:
    pair = f"{settings.basic_auth_user}:{settings.basic_auth_password}"
    return base64.b64encode(pair.encode()).decode()


def checked_url(url: str, issuer: str, paths: list[str]) -> str:
    """The service's address, without a hook's path at its end."""
    match = ADDRESS.fullmatch(url)
    if match is None:
        raise WrongInput("--url is not an address such as https://hooks.example.com")
    origin, host, path = match.groups()
    stays_here = is_on_this_machine(issuer) and is_on_this_machine(url)
    if not origin.startswith("https:") and not stays_here:
        raise WrongInput("--url must begin with https://: Okta accepts nothing else")
    if _is_private(host.strip("[]")) and not stays_here:
        raise WrongInput(f"--url: Okta cannot reach {host}. Deploy the service, or use a tunnel")
    prefix = path.rstrip("/")
    pasted = max((path for path in paths if prefix.endswith(path)), key=len, default="")
    last = f"/{prefix.rpartition('/')[2]}".lower()
    similar = get_close_matches(last, [path.lower() for path in paths], n=1, cutoff=0.85)
    if similar and not pasted:
        raise WrongInput(f"--url ends with a misspelt path of a hook ({similar[0]}): leave it out")
    return f"{origin}{prefix.removesuffix(pasted)}"


def _is_private(host: str) -> bool:
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".localhost", ".internal"))


def authorization(org: str) -> tuple[str, bool]:
    """The header for Okta, and whether the token was typed in."""
    for file in (".env", ".flaskenv"):
        for name in TOKENS.keys() & dotenv_values(PROJECT / file, interpolate=False).keys():
            raise WrongInput(
                f"{name} is in {file}, which flask reads: remove it there, and revoke it"
            )
    name = next((name for name in TOKENS if os.environ.get(name)), "")
    if not name and not at_terminal():
        raise WrongInput("There is no terminal to ask for a token: set OKTA_API_TOKEN for this run")
    question = (
        f"API token of {urlsplit(org).netloc} (Security > API > Tokens; used for this run only)"
    )
    token = os.environ[name] if name else click.prompt(question, hide_input=True)
    token = token.strip()
    # requests would quote the whole header in its own message.
    if not re.fullmatch("[!-~]+", token):
        raise WrongInput(
            f"{name or 'That'} is not a token: it contains a character that no token has"
        )
    return f"{TOKENS.get(name, 'SSWS')} {token}", not name
