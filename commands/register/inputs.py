"""What the options, the settings and the environment say, checked before Okta is asked."""

import base64
import os
import sys
from ipaddress import ip_address
from urllib.parse import urlsplit

import click
from dotenv import dotenv_values
from flask import Flask

from settings import PROJECT, Settings
from settings.values import is_on_this_machine

from .hooks import Hook, chosen, hooks_of
from .plan import Choices

TOKENS = {"OKTA_API_TOKEN": "SSWS", "OKTA_ACCESS_TOKEN": "Bearer"}
NAME = "Flask hooks"
SCOPE = "hooks"
# Okta takes 255 characters for a hook and 100 for a policy, and the hook's path comes behind it.
LONGEST_NAME = 60
LONGEST_URL = 900
PUBLISHED = (
    "BASIC_AUTH_PASSWORD is the one that is printed in Okta's guide, so everybody knows it: choose "
    "another, and start the service again"
)


class WrongInput(click.ClickException):
    """Nothing was sent."""


def at_terminal() -> bool:
    return sys.stdin.isatty()


def org_of(settings: Settings) -> str:
    """The org's address, which is in OKTA_ISSUER."""
    if not settings.okta_issuer:
        raise WrongInput(
            "OKTA_ISSUER is not set, and it says which org this is about. Without API Access "
            "Management it is the address of the org, such as https://example.okta.com"
        )
    parts = urlsplit(settings.okta_issuer)
    return f"{parts.scheme}://{parts.netloc}"


def authorization(org: str) -> tuple[str, bool]:
    """The header for Okta, and whether the token was typed in."""
    for file in (".env", ".flaskenv"):
        for name in TOKENS:
            if name in dotenv_values(PROJECT / file, interpolate=False):
                raise WrongInput(
                    f"{name} is in {file}, which the service reads: it would have the rights of an "
                    "administrator. Remove it there, and revoke the token in Okta"
                )
    given = [name for name in TOKENS if os.environ.get(name)]
    if len(given) > 1:
        raise WrongInput(f"{' and '.join(given)} are both set: unset one of them")
    if given:
        return f"{TOKENS[given[0]]} {_token(os.environ[given[0]], given[0])}", False
    if not at_terminal():
        raise WrongInput("There is no terminal to ask for a token: set OKTA_API_TOKEN for this run")
    text = click.prompt(
        f"API token of {urlsplit(org).netloc} (Security > API > Tokens; used for this run only)",
        hide_input=True,
    )
    return f"SSWS {_token(text, 'The token')}", True


def _token(text: str, name: str) -> str:
    token = text.strip()
    # requests would quote the whole header in its own message.
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise WrongInput(f"{name} is no token: it has a space or a character that no token has")
    return token


def checked_url(url: str, org: str, paths: list[str]) -> str:
    """The service's address, without a hook's path at its end."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", 0
    usable = host and port != 0 and url.isascii() and url.isprintable() and " " not in url
    if not usable or "@" in parts.netloc or parts.query or parts.fragment:
        raise WrongInput("--url is not an address such as https://hooks.example.com")
    if len(url) > LONGEST_URL:
        raise WrongInput(f"--url has more than {LONGEST_URL} characters")
    stays_here = is_on_this_machine(org) and is_on_this_machine(url)
    if parts.scheme != "https" and not (stays_here and parts.scheme == "http"):
        raise WrongInput("--url must begin with https://: Okta sends hooks to nothing else")
    if not stays_here and _is_private(host):
        raise WrongInput(
            f"--url: Okta cannot reach {host}, which is an address of this machine or network. "
            "Deploy the service, or let a tunnel lead to it"
        )
    prefix = parts.path.rstrip("/")
    pasted = max((path for path in paths if prefix.endswith(path)), key=len, default="")
    return f"{parts.scheme}://{parts.netloc}{prefix.removesuffix(pasted)}"


def _is_private(host: str) -> bool:
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".localhost", ".internal"))


def choices_of(
    app: Flask,
    settings: Settings,
    *,
    url: str,
    name: str,
    hooks: str | None,
    auth: str,
    rewrite_secrets: bool = False,
    remove: bool = False,
) -> Choices:
    if not name.isprintable() or not 0 < len(name.strip()) <= LONGEST_NAME:
        raise WrongInput(f"--name must have 1 to {LONGEST_NAME} printable characters")
    found = named(hooks_of(app), hooks)
    header = None
    if not remove:
        header = basic_header(settings)
        found = [hook for hook in found if _can_be_registered(hook, settings, hooks, header)]
    choices = Choices(
        prefix=name.strip(),
        url=url,
        hooks=found,
        all_hooks=hooks is None,
        auth=auth,
        issuer=settings.okta_issuer,
        audience=settings.okta_audience,
        scope=settings.okta_scope or SCOPE,
        client_ids=settings.okta_client_id,
        header=header,
        rewrite_secrets=rewrite_secrets,
    )
    if auth == "basic" and not remove and header is None:
        raise WrongInput("BASIC_AUTH_USER and BASIC_AUTH_PASSWORD are not set: choose a pair")
    if auth != "basic" and not choices.server:
        raise WrongInput(
            "OKTA_ISSUER is not a custom server's, which ends with /oauth2/default or an ID: the "
            "org's own server issues no tokens for hooks"
        )
    return choices


def named(hooks: list[Hook], names: str | None) -> list[Hook]:
    """The hooks of `--hooks`; all of them without it."""
    if names is None:
        return hooks
    try:
        return chosen(hooks, [name.strip() for name in names.split(",")])
    except KeyError as error:
        known = ", ".join(dict.fromkeys(hook.name for hook in hooks))
        raise WrongInput(f"--hooks: there is no hook {error}. There are: {known}") from None


def basic_header(settings: Settings) -> str | None:
    if not settings.basic_auth_password:
        return None
    if "BASIC_AUTH_PASSWORD" in settings.published_passwords:
        raise WrongInput(PUBLISHED)
    pair = f"{settings.basic_auth_user}:{settings.basic_auth_password}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _can_be_registered(
    hook: Hook, settings: Settings, names: str | None, header: str | None
) -> bool:
    """False for what was not asked for by name. Raises WrongInput for what was."""
    problem = ""
    if hook.type is None and header is None:
        problem = (
            "event hooks need BASIC_AUTH_USER and BASIC_AUTH_PASSWORD: Okta can send them with "
            "nothing else"
        )
    elif hook.is_telephony and names:
        provider = getattr(settings, "telephony_provider", None)
        if provider in (None, "console"):
            problem = (
                "TELEPHONY_PROVIDER is not a real one, and an active telephony hook is used at "
                "once: nobody would get a code"
            )
    if problem and names:
        raise WrongInput(f"--hooks: {problem}")
    return not problem
