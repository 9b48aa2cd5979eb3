"""What the environment says: read once, checked whole, kept as one frozen object.

A value comes from the process environment or, where that is silent, from `.env` in this folder.
`load()` reports every mistake in one message, so that nobody mends them one start at a time;
`python -m settings` does no more than that, for those who deploy.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import find_dotenv
from dotenv.parser import parse_stream

from . import values as value

PROJECT = Path(__file__).parent.parent
DOTENV_PATH = PROJECT / ".env"
FLASKS_FILES = (".env", ".flaskenv")
# Printed in Okta's guide, so known to everybody.
PUBLISHED_PASSWORD = "supersecret"  # noqa: S105
SHORTEST_PASSWORD = 12
DEFAULT_DATABASE_URL = f"sqlite:///{PROJECT}/instance/events.sqlite"

Problems = dict[str, str]


class SettingsError(SystemExit):
    """The settings cannot be used; where nobody catches it, the process ends with its message."""

    def __init__(self, problems: Problems):
        self.problems = problems
        width = max(map(len, problems))
        lines = "\n".join(f"  {name:<{width}}  {problem}" for name, problem in problems.items())
        super().__init__(
            f"The service cannot start: {len(problems)} of its settings "
            f"{'is' if len(problems) == 1 else 'are'} wrong.\n\n{lines}\n\n"
            "Set them in the environment or in .env beside app.py; .env.example says what each "
            "one means.\nWithout an .env yet, `flask okta new-env` makes one."
        )


def setting(parse: Callable, default=None, *, secret: bool = False):
    return field(default=default, repr=not secret, metadata={"parse": parse})


@dataclass(frozen=True)
class Settings:
    """The checked settings, each named as in the environment, in lower case.

    Secrets are left out of `repr()`, which ends up in logs.
    """

    auth_mode: str = setting(value.one_of("basic", "oauth"), "basic")
    basic_auth_user: str | None = setting(value.basic_user)
    basic_auth_password: str | None = setting(value.credential, secret=True)
    basic_auth_password_previous: str | None = setting(value.credential, secret=True)
    okta_issuer: str = setting(value.from_okta(value.ISSUER_IN_OKTA, value.issuer), "")
    okta_audience: str = setting(
        value.from_okta("Security > API > Authorization Servers, Audience"), "api://default"
    )
    okta_client_id: frozenset[str] = setting(
        value.list_of(value.from_okta("the app's General tab, Client ID")), frozenset()
    )
    okta_scope: str | None = setting(
        value.from_okta("Security > API > your server > Scopes (one name)")
    )
    registration_allowed_domains: frozenset[str] = setting(
        value.list_of(value.domain), frozenset({"okta.com"})
    )
    events_database_url: str = setting(value.database_url, DEFAULT_DATABASE_URL, secret=True)
    event_threads: int = setting(value.number_of_threads, 2)
    max_content_length: int = setting(value.number_of_bytes, 1024 * 1024)
    telephony_provider: str | None = setting(value.one_of("console", "twilio"))
    twilio_account_sid: str | None = setting(value.credential)
    twilio_auth_token: str | None = setting(value.credential, secret=True)
    twilio_from_number: str | None = setting(value.credential)
    log_level: str = setting(value.one_of("DEBUG", "INFO", "WARNING", "ERROR"), "INFO")
    log_format: str = setting(value.one_of("text", "json"), "text")
    notes: tuple[str, ...] = ()
    """What is not wrong, but must be known to the person who starts the service."""
    error: SettingsError | None = None
    """With the defaults, which admit nobody, in the place of settings that cannot be used."""

    @property
    def uses_published_password(self) -> bool:
        return PUBLISHED_PASSWORD in (self.basic_auth_password, self.basic_auth_password_previous)


PARSERS = {each.name.upper(): each.metadata["parse"] for each in fields(Settings) if each.metadata}


def load(
    environ: Mapping[str, str] | None = None,
    dotenv_path: Path = DOTENV_PATH,
    *,
    development: bool = False,
) -> Settings:
    """Read and check the settings. Raises SettingsError, which names every one that is wrong.

    `development` is true under `flask …` alone: there a telephony code may go to the terminal
    instead of a phone, and the password that Okta's guide prints is tolerated.
    """
    environ = os.environ if environ is None else environ
    problems: Problems = {}
    dotenv = read_dotenv(dotenv_path, problems)
    texts = dotenv | {name: text for name, text in environ.items() if name in PARSERS}
    if "BASIC_AUTH_USER" not in texts and "BASIC_AUTH_PASSWORD" not in texts:
        # The guide's names count only in .env: in a shell USER is the login name, and would win
        # without anybody noticing.
        texts["BASIC_AUTH_USER"] = dotenv.get("USER")
        texts["BASIC_AUTH_PASSWORD"] = dotenv.get("PASSWORD")
    values = {"telephony_provider": "console"} if development else {}
    for name, parse in PARSERS.items():
        # Empty counts as not set.
        if texts.get(name):
            try:
                values[name.lower()] = parse(texts[name])
            except ValueError as error:
                problems[name] = str(error)
    settings = Settings(**values)
    problems |= misspelt({*environ, *dotenv}, texts)
    # Whatever is wrong by itself needs no second sentence.
    problems = missing(settings) | problems
    for name in ("BASIC_AUTH_PASSWORD", "BASIC_AUTH_PASSWORD_PREVIOUS"):
        if texts.get(name) == PUBLISHED_PASSWORD and not development:
            problems[name] = (
                "is the one printed in Okta's guide (admin:supersecret), which everybody knows. "
                "Choose another: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
    if development and not environ.get("FLASK_SKIP_DOTENV"):
        # flask itself has read the nearest ones from the current folder upwards.
        for nearest in filter(None, (find_dotenv(name, usecwd=True) for name in FLASKS_FILES)):
            if Path(nearest).parent != dotenv_path.parent:
                problems[nearest] = (
                    "was read by flask, and belongs to another folder: start flask in the "
                    f"project's folder, with its own {Path(nearest).name} there"
                )
    if problems:
        raise SettingsError(problems)
    return replace(settings, notes=tuple(notes(settings, texts)))


def read_dotenv(path: Path, problems: Problems) -> dict[str, str | None]:
    """The values of an .env file, as they stand there."""
    try:
        with path.open(encoding="utf-8") as stream:
            bindings = list(parse_stream(stream))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        problems[".env"] = f"cannot be read ({type(error).__name__}): save it as UTF-8"
        return {}
    values: dict[str, str | None] = {}
    for name, content, original, is_wrong in bindings:
        text = original.string
        if is_wrong:
            # Skipped, it could be the line that says who may send requests.
            line = original.line + text[: len(text) - len(text.lstrip())].count("\n")
            problems[f".env, line {line}"] = "is not NAME=value (quotes around the whole value)"
        elif name is not None:
            if "${" in (content or ""):
                problems[name] = "has ${…} in .env, which knows no variables: write out the value"
            elif re.search(r"=\s*[^\s'\"].*\s#", text):
                problems[name] = (
                    'has " #" in .env, which cuts off the rest: put a value with a # into single '
                    "quotes, and a comment on a line of its own"
                )
            elif name in ("user", "password"):
                problems[name] = f"is not a setting: write it in capitals, {name.upper()}"
            elif name in values:
                problems[name] = "stands twice in .env: remove one of the two lines"
            values[name] = content
    return values


def misspelt(names: set[str], texts: Mapping[str, str | None]) -> Problems:
    """Passed over, such a name could leave the guard open wider than was meant."""
    problems = {}
    for name in sorted(names.difference(PARSERS)):
        in_capitals = name.upper().replace("-", "_")
        close = get_close_matches(name, PARSERS, n=1, cutoff=0.9)
        if in_capitals in PARSERS:
            problems[name] = f"is not a setting: write it in capitals, {in_capitals}"
        elif close and close[0] not in texts:
            problems[name] = f"is not a setting: is {close[0]} meant?"
    return problems


def missing(settings: Settings) -> Problems:
    """What is not set, but needed with the rest."""
    oauth = settings.auth_mode == "oauth"
    user, password = settings.basic_auth_user, settings.basic_auth_password
    pair = "is not set or empty: choose one; the hook's Authentication secret holds the same pair"
    problems = {}
    if not user and (not oauth or password):
        problems["BASIC_AUTH_USER"] = pair
    if not password and (not oauth or user or settings.basic_auth_password_previous):
        problems["BASIC_AUTH_PASSWORD"] = pair
    if oauth and not settings.okta_issuer:
        problems["OKTA_ISSUER"] = f"is not set: take it from {value.ISSUER_IN_OKTA}"
    if oauth and not settings.okta_client_id and not settings.okta_scope:
        problems["OKTA_CLIENT_ID"] = (
            "is not set, and there is no good OKTA_SCOPE: any token that the server issues to "
            "anybody would open the hooks. Set at least one (Applications and Resources > "
            "Applications > your app > General > Client ID; Security > API > your server > Scopes)"
        )
    if settings.telephony_provider == "twilio":
        for name in ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM_NUMBER"):
            if not getattr(settings, name.lower()):
                problems[name] = "is not set: Twilio's console shows it"
        if find_spec("twilio") is None:
            needed = "pip install -r requirements/twilio.txt"
            problems["TELEPHONY_PROVIDER"] = f"is twilio, which needs: {needed}"
    return problems


def notes(settings: Settings, texts: Mapping[str, str | None]) -> Iterator[str]:
    """What the person who starts the service must know, though nothing of it is wrong."""
    password, issuer_url = settings.basic_auth_password, urlsplit(settings.okta_issuer or "")
    if settings.uses_published_password:
        yield (
            "BASIC_AUTH_PASSWORD is printed in Okta's guide, so everybody knows it: gunicorn will "
            "refuse to start with it"
        )
    if password and len(password) < SHORTEST_PASSWORD:
        yield f"BASIC_AUTH_PASSWORD has fewer than {SHORTEST_PASSWORD} characters"
    if settings.basic_auth_password_previous:
        yield "BASIC_AUTH_PASSWORD_PREVIOUS is still accepted: remove it once Okta has the new one"
    if not password:
        yield (
            "event hooks are off (401): Okta sends them with HTTP Basic, and BASIC_AUTH_USER and "
            "BASIC_AUTH_PASSWORD are not set"
        )
    if settings.auth_mode == "oauth":
        if not settings.okta_client_id:
            yield "OKTA_CLIENT_ID is not set: OKTA_SCOPE alone decides whose tokens pass"
        if not settings.okta_scope:
            yield "OKTA_SCOPE is not set: OKTA_CLIENT_ID alone decides whose tokens pass"
        if issuer_url.scheme == "http":
            yield (
                "OKTA_ISSUER is on this machine and without TLS, good for a trial only: whoever "
                "can listen on its port here can issue tokens"
            )
        if issuer_url.path in ("", "/oauth2"):
            yield (
                "OKTA_ISSUER is not a custom server's, which ends with /oauth2/default, say: the "
                "org's own server issues no tokens for hooks"
            )
    elif not texts.get("AUTH_MODE") and any(texts.get(n) for n in PARSERS if n.startswith("OKTA_")):
        yield "AUTH_MODE is not set, so it is basic, and the OKTA_… settings do nothing"
    if settings.telephony_provider is None:
        yield "the telephony hook sends nothing: TELEPHONY_PROVIDER is not set"
