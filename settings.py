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
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import find_dotenv
from dotenv.parser import parse_stream

PROJECT = Path(__file__).parent
DOTENV_PATH = PROJECT / ".env"
# Printed in Okta's guide, so known to everybody.
PUBLISHED_PASSWORD = "supersecret"  # noqa: S105
SHORTEST_PASSWORD = 12
# Misspelt or set twice, one of these would leave the guard open wider than was meant.
GUARD_SETTINGS = re.compile("AUTH_MODE|BASIC_AUTH_.*|OKTA_.*|USER|PASSWORD")

DATABASE_URLS = "sqlite:////full/path/of/a/file or postgresql+psycopg://user:password@host/database"
ISSUER_IN_OKTA = "Security > API > Authorization Servers, Issuer URI"

DEFAULT_DATABASE_URL = f"sqlite:///{PROJECT}/instance/events.sqlite"

Problems = dict[str, str]


class SettingsError(Exception):
    """The settings cannot be used; `str()` is the message for the person who starts the service."""

    def __init__(self, problems: Problems, settings: "Settings | None" = None):
        """`settings` holds what could be read, and the default for the rest."""
        self.problems = problems
        self.settings = settings
        width = max(map(len, problems))
        lines = "\n".join(f"  {name:<{width}}  {problem}" for name, problem in problems.items())
        super().__init__(
            f"The service cannot start: {len(problems)} of its settings "
            f"{'is' if len(problems) == 1 else 'are'} wrong.\n\n{lines}\n\n"
            "Set them in the environment or in .env beside app.py; .env.example says what each "
            "one means.\nWithout an .env yet, `flask okta new-env` makes one."
        )


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine, by name or by address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


# Each of these takes the text that stands in the environment, and raises ValueError with a sentence
# that goes on after the setting's name.


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        for choice in choices:
            if choice.lower() == text.strip().lower():
                return choice
        raise ValueError(f"is {shown(text)}, but can only be {' or '.join(choices)}")

    return parse


def credential(text: str) -> str:
    if re.fullmatch(r"\{.*\}|<.*>", text.strip()):
        raise ValueError("is still a placeholder: choose a value, and use the same in Okta")
    if not text.isprintable() or text != text.strip():
        raise ValueError("has a control character, or white space at an end")
    return text


def basic_user(text: str) -> str:
    if ":" in text:
        raise ValueError("has a colon, which HTTP Basic cannot send (RFC 7617, 2)")
    return credential(text)


def from_okta(where: str, parse: Callable[[str], str] = str) -> Callable[[str], str]:
    """A word to be copied from the Admin Console, at the place named by `where`."""

    def parse_word(text: str) -> str:
        text = text.strip()
        try:
            if "{" in text or "}" in text:
                raise ValueError(f"still has a placeholder, {shown(text)}")
            if not text or not text.isprintable() or " " in text:
                raise ValueError("is blank, or has a space or a control character")
            return parse(text)
        except ValueError as error:
            raise ValueError(f"{error}: take it from {where}") from None

    return parse_word


def issuer(text: str) -> str:
    """The Issuer URI of an authorization server, letter by letter as a token's `iss` has it."""
    url = urlsplit(text)
    host, _ = url.hostname or "", url.port
    endpoint = re.match(r"(.*?)/(v1/|\.well-known/)", text)
    if url.scheme not in ("https", "http") or not host:
        raise ValueError(f"is {shown(text)}, but must begin with https://")
    if url.username is not None or "?" in text or "#" in text:
        raise ValueError("must be a plain URL, without a user, a query or a fragment")
    if endpoint:
        raise ValueError(f"is the URL of an endpoint, the issuer is {shown(endpoint[1])}")
    if text.endswith("/"):
        raise ValueError("ends with a slash, which the iss of a token does not")
    if "youroktadomain" in host:
        raise ValueError("still has the placeholder yourOktaDomain")
    if "-admin.okta" in host:
        raise ValueError(
            f"has the Admin Console's domain ({host}), but tokens come from it without -admin"
        )
    if url.scheme == "http" and not is_loopback(host):
        raise ValueError("uses http, which anybody on the way can change (https is needed)")
    return text


def list_of(parse: Callable[[str], str]) -> Callable[[str], frozenset[str]]:
    def parse_list(text: str) -> frozenset[str]:
        items = frozenset(parse(item) for item in text.split(",") if item.strip())
        if not items:
            raise ValueError("is an empty list: name one at least, or remove it")
        return items

    return parse_list


def domain(text: str) -> str:
    text = text.strip().lower()
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*", text):
        raise ValueError(
            f"has {shown(text)}: write each domain as in example.com, without @, "
            "an international one in its ASCII form (xn--…)"
        )
    return text


def number_of_bytes(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text.strip()) or int(text) == 0:
        raise ValueError(f"is {shown(text)}, but must be a number of bytes such as 1048576")
    return int(text)


def database_url(text: str) -> str:
    """The value itself stands in no message: it may hold a password."""
    text = text.strip()
    scheme, _, rest = text.partition("://")
    if scheme == "sqlite":
        path = Path(rest[1:])
        if not rest.startswith("/") or "?" in rest or not path.is_absolute():
            raise ValueError("must name a file by its full path: sqlite:////full/path/of/a/file")
        if not path.parent.is_dir():
            raise ValueError(f"names a folder that does not exist: {shown(str(path.parent))}")
        return text
    if scheme not in ("postgresql", "postgresql+psycopg"):
        raise ValueError(f"names a database or driver that is not known here: use {DATABASE_URLS}")
    try:
        url = urlsplit(text)
        if rest.count("@") > 1 or url.fragment or url.port == 0:
            raise ValueError
    except ValueError:
        raise ValueError(
            "cannot be read: write an @ in its password as %40, a / as %2F, and other signs "
            "likewise; a port is a number"
        ) from None
    if not url.path.strip("/"):
        raise ValueError("names no database: postgresql+psycopg://user:password@host/database")
    if find_spec("psycopg") is None:
        needed = "pip install -r requirements-postgresql.txt"
        raise ValueError(f"is PostgreSQL, which needs: {needed}")
    return text


def shown(text: str) -> str:
    """A value as it may stand in a message: quoted, with control characters escaped, short."""
    text = text if len(text) <= 60 else text[:57] + "…"
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in f"“{text}”")


def setting(parse: Callable, default=None, *, secret: bool = False):
    return field(default=default, repr=not secret, metadata={"parse": parse})


@dataclass(frozen=True)
class Settings:
    """The checked settings, each named as in the environment, in lower case.

    Secrets are left out of `repr()`, which ends up in logs.
    """

    auth_mode: str = setting(one_of("basic", "oauth"), "basic")
    basic_auth_user: str | None = setting(basic_user)
    basic_auth_password: str | None = setting(credential, secret=True)
    basic_auth_password_previous: str | None = setting(credential, secret=True)
    okta_issuer: str | None = setting(from_okta(ISSUER_IN_OKTA, issuer))
    okta_audience: str = setting(
        from_okta("Security > API > Authorization Servers, Audience"), "api://default"
    )
    okta_client_id: frozenset[str] = setting(
        list_of(from_okta("the app's General tab, Client ID")), frozenset()
    )
    okta_scope: str | None = setting(from_okta("Security > API > your server > Scopes (one name)"))
    registration_allowed_domains: frozenset[str] = setting(list_of(domain), frozenset({"okta.com"}))
    events_database_url: str = setting(database_url, DEFAULT_DATABASE_URL, secret=True)
    max_content_length: int = setting(number_of_bytes, 1024 * 1024)
    telephony_provider: str | None = setting(one_of("console", "twilio"))
    twilio_account_sid: str | None = setting(credential)
    twilio_auth_token: str | None = setting(credential, secret=True)
    twilio_from_number: str | None = setting(credential)
    log_level: str = setting(one_of("DEBUG", "INFO", "WARNING", "ERROR"), "INFO")
    log_format: str = setting(one_of("text", "json"), "text")
    notes: tuple[str, ...] = ()
    """What is not wrong, but must be known to the person who starts the service."""

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
    if settings.uses_published_password and not development:
        current = settings.basic_auth_password == PUBLISHED_PASSWORD
        problems["BASIC_AUTH_PASSWORD" if current else "BASIC_AUTH_PASSWORD_PREVIOUS"] = (
            "is the one printed in Okta's guide (admin:supersecret), which everybody knows. "
            "Choose another: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    if development and not environ.get("FLASK_SKIP_DOTENV"):
        # flask itself has read the nearest .env from the current folder upwards.
        nearest = find_dotenv(usecwd=True)
        if nearest and Path(nearest) != dotenv_path:
            problems[nearest] = (
                "was read by flask, and belongs to another folder: start flask in the project's "
                "folder, with an .env there"
            )
    if problems:
        raise SettingsError(problems, settings)
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
    for name, value, original, is_wrong in bindings:
        text = original.string
        if is_wrong:
            # Skipped, it could be the line that says who may call.
            line = original.line + text[: len(text) - len(text.lstrip())].count("\n")
            problems[f".env, line {line}"] = "is not NAME=value (quotes around the whole value)"
        elif name is not None:
            if "${" in (value or ""):
                problems[name] = "has ${…} in .env, which knows no variables: write out the value"
            elif re.search(r"=\s*[^\s'\"].*\s#", text):
                problems[name] = (
                    'has " #" in .env, which cuts off the rest: put a value with a # into single '
                    "quotes, and a comment on a line of its own"
                )
            elif name in values and GUARD_SETTINGS.fullmatch(name):
                problems[name] = "stands twice in .env: remove one of the two lines"
            values[name] = value
    return values


def misspelt(names: set[str], texts: Mapping[str, str | None]) -> Problems:
    known = [name for name in PARSERS if GUARD_SETTINGS.fullmatch(name)]
    problems = {}
    for name in sorted(names.difference(PARSERS)):
        in_capitals = name.upper().replace("-", "_")
        close = get_close_matches(name, known, n=1, cutoff=0.9)
        if in_capitals in known:
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
        problems["OKTA_ISSUER"] = f"is not set: take it from {ISSUER_IN_OKTA}"
    if oauth and not settings.okta_client_id and not settings.okta_scope:
        problems["OKTA_CLIENT_ID"] = (
            "is not set, and neither is OKTA_SCOPE: any token that the server issues to anybody "
            "would open the hooks. Set at least one (Applications > your app > General > Client "
            "ID; Security > API > your server > Scopes)"
        )
    if settings.telephony_provider == "twilio":
        for name in ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM_NUMBER"):
            if not getattr(settings, name.lower()):
                problems[name] = "is not set: Twilio's console shows it"
        if find_spec("twilio") is None:
            needed = "pip install -r requirements-twilio.txt"
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
            yield "OKTA_CLIENT_ID is not set: OKTA_SCOPE alone decides who may call"
        if not settings.okta_scope:
            yield "OKTA_SCOPE is not set: OKTA_CLIENT_ID alone decides who may call"
        if issuer_url.scheme == "http":
            yield (
                "OKTA_ISSUER is on this machine and without TLS, good for a trial only: whoever "
                "can listen on its port here can issue tokens"
            )
        if not issuer_url.path:
            yield (
                "OKTA_ISSUER is the org's own server, which issues no tokens for hooks: a custom "
                "server's ends with /oauth2/default, say"
            )
    elif not texts.get("AUTH_MODE") and any(texts.get(n) for n in PARSERS if n.startswith("OKTA_")):
        yield "AUTH_MODE is not set, so it is basic, and the OKTA_… settings do nothing"
    if settings.telephony_provider is None:
        yield "the telephony hook sends nothing: TELEPHONY_PROVIDER is not set"


if __name__ == "__main__":
    try:
        settings = load()
    except SettingsError as error:
        raise SystemExit(f"\n{error}\n") from None
    for note in settings.notes:
        print(note)  # noqa: T201
