"""What the environment says: read once, checked whole, kept as one frozen object.

A value comes from the process environment or, where that is silent, from `.env` in this folder.
`load()` reports every mistake in one message, so that nobody mends them one start at a time;
`python -m settings` does no more than that, for those who deploy.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from dotenv.parser import parse_stream

DOTENV_PATH = Path(__file__).parent / ".env"

# Printed in Okta's guide, so known to everybody.
PUBLISHED_PAIR = ("admin", "supersecret")

# Misspelt, each of these would leave the guard open wider than was meant.
GUARD_SETTINGS = (
    "AUTH_MODE",
    "BASIC_AUTH_USER",
    "BASIC_AUTH_PASSWORD",
    "BASIC_AUTH_PASSWORD_PREVIOUS",
    "OKTA_ISSUER",
    "OKTA_AUDIENCE",
    "OKTA_CLIENT_ID",
    "OKTA_SCOPE",
)

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LOG_FORMATS = ("text", "json")
TELEPHONY_PROVIDERS = ("console", "twilio")


class SettingsError(Exception):
    """The settings cannot be used; `str()` is the message for the person who starts the service."""

    def __init__(self, problems: list[tuple[str, str]]):
        self.problems = problems
        width = max(len(name) for name, _ in problems)
        lines = "\n".join(f"  {name:<{width}}  {problem}" for name, problem in problems)
        super().__init__(
            f"The service cannot start: {len(problems)} of its settings "
            f"{'is' if len(problems) == 1 else 'are'} wrong.\n\n{lines}\n\n"
            f"Set them in the environment or in {DOTENV_PATH.name} beside app.py; "
            ".env.example says what each one means."
        )


@dataclass(frozen=True)
class Settings:
    """The checked settings. Secrets are left out of `repr()`, which ends up in logs."""

    auth_mode: str = "basic"
    basic_auth_user: str | None = None
    basic_auth_password: str | None = field(default=None, repr=False)
    basic_auth_password_previous: str | None = field(default=None, repr=False)
    okta_issuer: str | None = None
    okta_audience: str = "api://default"
    okta_client_ids: frozenset[str] = frozenset()
    okta_scope: str | None = None
    registration_allowed_domains: frozenset[str] = frozenset({"okta.com"})
    max_content_length: int = 1024 * 1024
    telephony_provider: str | None = None
    twilio_account_sid: str | None = None
    twilio_auth_token: str | None = field(default=None, repr=False)
    twilio_from_number: str | None = None
    log_level: str = "INFO"
    log_format: str = "text"

    @property
    def has_basic_pair(self) -> bool:
        return self.basic_auth_password is not None

    @property
    def notes(self) -> list[str]:
        """What is not wrong, but must be known to the person who starts the service."""
        notes = []
        if self.uses_published_password:
            notes.append(
                "BASIC_AUTH_PASSWORD is printed in Okta's guide, so everybody knows it: "
                "gunicorn will refuse to start with it"
            )
        if not self.has_basic_pair:
            notes.append(
                "event hooks are off (401): Okta sends them with HTTP Basic, and BASIC_AUTH_USER "
                "and BASIC_AUTH_PASSWORD are not set"
            )
        if self.auth_mode == "oauth":
            notes += self._oauth_notes
        if self.telephony_provider is None:
            notes.append("the telephony hook sends nothing: TELEPHONY_PROVIDER is not set")
        return notes

    @property
    def _oauth_notes(self) -> list[str]:
        notes = []
        if not self.okta_client_ids:
            notes.append("OKTA_CLIENT_ID is not set: OKTA_SCOPE alone decides who may call")
        if not self.okta_scope:
            notes.append("OKTA_SCOPE is not set: OKTA_CLIENT_ID alone decides who may call")
        if self.okta_issuer.startswith("http:"):
            notes.append(
                "OKTA_ISSUER is on this machine and without TLS, good for a trial only: whoever "
                "can listen on its port here can issue tokens"
            )
        return notes

    @property
    def uses_published_password(self) -> bool:
        # Whoever changes no more than the user has a password that everybody knows.
        return PUBLISHED_PAIR[1] in (self.basic_auth_password, self.basic_auth_password_previous)


def load(
    environ: Mapping[str, str] | None = None,
    dotenv_path: Path = DOTENV_PATH,
    *,
    development: bool = False,
) -> Settings:
    """Read and check the settings.

    `development` is true under `flask …` alone: there a telephony code may go to the terminal
    instead of a phone, and the pair that Okta's guide prints is tolerated.

    Raises SettingsError, which names every setting that is wrong.
    """
    return _Reader(os.environ if environ is None else environ, dotenv_path).settings(development)


class _Reader:
    """Collects values and problems; a problem never stops the reading."""

    def __init__(self, environ: Mapping[str, str], dotenv_path: Path):
        self._environ = environ
        self._problems: list[tuple[str, str]] = []
        self._dotenv = self._read(dotenv_path)

    def _read(self, dotenv_path: Path) -> dict[str, str | None]:
        """The file's values, as they stand there."""
        try:
            with dotenv_path.open(encoding="utf-8") as stream:
                bindings = list(parse_stream(stream))
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            problem = f"cannot be read ({type(error).__name__}): save it as UTF-8, readable by you"
            raise SettingsError([(dotenv_path.name, problem)]) from None
        for binding in bindings:
            # Skipped, it could be the one that says who may call.
            if binding.error:
                text = binding.original.string
                line = binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
                self._wrong(
                    f"{dotenv_path.name}, line {line}",
                    "is not NAME=value (quotes, if any, around the whole value)",
                )
            elif "${" in (binding.value or ""):
                # `flask` reads the file as well, and would put a variable's value there, or none.
                self._wrong(
                    binding.key,
                    f"has ${{…}} in {dotenv_path.name}, which knows no variables: "
                    "write out the value, or set it in the environment",
                )
        return {binding.key: binding.value for binding in bindings if binding.key is not None}

    def _misspelt(self) -> None:
        for name in sorted({*self._environ, *self._dotenv}.difference(GUARD_SETTINGS)):
            for meant in get_close_matches(name, GUARD_SETTINGS, n=1, cutoff=0.9):
                if not self._is_set(meant):
                    self._wrong(name, f"is no setting: is {meant} meant?")

    def settings(self, development: bool) -> Settings:
        self._misspelt()
        auth_mode = self._choice("AUTH_MODE", ("basic", "oauth"), "basic")
        oauth = auth_mode == "oauth"
        user, password = self._basic_pair(needed=auth_mode == "basic")
        issuer = self._issuer(needed=oauth)
        client_ids = self._list("OKTA_CLIENT_ID", "the app's General tab, Client ID")
        scope = self._scope()
        if oauth and not client_ids and not scope and not self._is_wrong("OKTA_CLIENT_ID"):
            self._wrong(
                "OKTA_CLIENT_ID",
                "is not set, and neither is OKTA_SCOPE: any token that the server issues to "
                "anybody would open the hooks. Set at least one (Applications > your app > "
                "General > Client ID; Security > API > your server > Scopes)",
            )
        provider = self._provider(development)
        settings = Settings(
            auth_mode=auth_mode,
            basic_auth_user=user,
            basic_auth_password=password,
            basic_auth_password_previous=self._previous_password(password),
            okta_issuer=issuer,
            okta_audience=self._okta_text("OKTA_AUDIENCE", "the server's Settings tab")
            or "api://default",
            okta_client_ids=client_ids,
            okta_scope=scope,
            registration_allowed_domains=self._domains(),
            max_content_length=self._bytes("MAX_CONTENT_LENGTH", 1024 * 1024),
            telephony_provider=provider,
            **self._twilio(needed=provider == "twilio"),
            log_level=self._choice("LOG_LEVEL", LOG_LEVELS, "INFO", fold=str.upper),
            log_format=self._choice("LOG_FORMAT", LOG_FORMATS, "text"),
        )
        if settings.uses_published_password and not development:
            is_current = settings.basic_auth_password == PUBLISHED_PAIR[1]
            self._wrong(
                "BASIC_AUTH_PASSWORD" if is_current else "BASIC_AUTH_PASSWORD_PREVIOUS",
                "is the one printed in Okta's guide (admin:supersecret), which everybody knows. "
                "Choose another: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )
        if self._problems:
            raise SettingsError(self._problems)
        return settings

    def _value(self, name: str) -> str | None:
        """The value, or None where neither source has one. Empty counts as not set."""
        value = self._environ[name] if name in self._environ else self._dotenv.get(name)
        return value or None

    def _is_empty(self, name: str) -> bool:
        """Whether the name stands there with nothing behind it, which hints at a slip."""
        return (name in self._environ or name in self._dotenv) and self._value(name) is None

    def _wrong(self, name: str, problem: str) -> None:
        self._problems.append((name, problem))

    def _is_wrong(self, name: str) -> bool:
        return any(name == wrong for wrong, _ in self._problems)

    def _choice(self, name: str, choices: tuple[str, ...], default: str, fold=str.lower) -> str:
        value = self._value(name)
        if value is None:
            return default
        folded = fold(value.strip())
        if folded not in choices:
            self._wrong(name, f"is {_shown(value)}, but can only be {' or '.join(choices)}")
        return folded

    def _basic_pair(self, needed: bool) -> tuple[str | None, str | None]:
        """The pair that Okta sends.

        The guide calls the two USER and PASSWORD. They count only where they stand in `.env`:
        in a shell USER is the login name, and would win without anybody noticing.
        """
        user_name, password_name = "BASIC_AUTH_USER", "BASIC_AUTH_PASSWORD"
        user, password = self._value(user_name), self._value(password_name)
        if not self._is_set(user_name) and not self._is_set(password_name):
            guide = self._dotenv.get("USER"), self._dotenv.get("PASSWORD")
            if any(value is not None for value in guide):
                user_name, password_name = "USER", "PASSWORD"
                user, password = guide[0] or None, guide[1] or None
        if user is None and password is None and not needed:
            return None, None
        where = "the hook's Authentication secret in Okta holds the same pair"
        for name, value in ((user_name, user), (password_name, password)):
            if value is None:
                state = "is empty" if self._is_empty(name) else "is not set"
                self._wrong(name, f"{state}: choose one; {where}")
            else:
                self._check_credential(name, value, f"choose one; {where}")
        if user and ":" in user:
            self._wrong(user_name, "has a colon, which HTTP Basic cannot send (RFC 7617, 2)")
        return user, password

    def _check_credential(self, name: str, value: str, advice: str) -> None:
        if _is_placeholder(value):
            self._wrong(name, f"is still a placeholder: {advice}")
        elif not value.isprintable() or value != value.strip():
            self._wrong(name, "has a control character, or white space at an end")

    def _is_set(self, name: str) -> bool:
        return name in self._environ or name in self._dotenv

    def _previous_password(self, password: str | None) -> str | None:
        name = "BASIC_AUTH_PASSWORD_PREVIOUS"
        previous = self._value(name)
        if previous and password is None:
            self._wrong(name, "is set, but there is no BASIC_AUTH_PASSWORD that follows it")
        elif previous:
            self._check_credential(name, previous, "put the old password there, or remove it")
        return previous

    def _okta_text(self, name: str, where: str) -> str | None:
        value = self._value(name)
        if value is None:
            return None
        value = value.strip()
        if not value:
            self._wrong(name, f"is blank: take it from {where}, or remove it")
        elif "{" in value or "}" in value:
            self._wrong(name, f"still has a placeholder, {_shown(value)}: take it from {where}")
        elif not value.isprintable() or " " in value:
            self._wrong(name, f"has a space or a control character: take it from {where}")
        return value

    def _list(self, name: str, where: str) -> frozenset[str]:
        text = self._okta_text(name, where) if "," not in (self._value(name) or "") else None
        if text is not None:
            return frozenset({text})
        items = [item.strip() for item in (self._value(name) or "").split(",")]
        items = [item for item in items if item]
        if self._value(name) is not None and not items and not self._is_wrong(name):
            self._wrong(name, f"is a list of nothing: take it from {where}, or remove it")
        for item in items:
            if "{" in item or not item.isprintable() or " " in item:
                self._wrong(name, f"has {_shown(item)} in its list: take it from {where}")
        return frozenset(items)

    def _scope(self) -> str | None:
        return self._okta_text("OKTA_SCOPE", "Security > API > your server > Scopes (one name)")

    def _issuer(self, needed: bool) -> str | None:
        name, where = "OKTA_ISSUER", "Security > API > Authorization Servers, Issuer URI"
        value = self._okta_text(name, where)
        if value is None:
            if needed:
                self._wrong(name, f"is not set: take it from {where}")
            return None
        if self._is_wrong(name):
            return value
        problem = _issuer_problem(value)
        if problem:
            self._wrong(name, f"{problem}: take it from {where}")
        return value

    def _domains(self) -> frozenset[str]:
        name = "REGISTRATION_ALLOWED_DOMAINS"
        value = self._value(name)
        if value is None:
            return frozenset({"okta.com"})
        domains = {item.strip().lower() for item in value.split(",") if item.strip()}
        for domain in sorted(domains):
            if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*", domain):
                self._wrong(
                    name,
                    f"has {_shown(domain)}: write each domain as in example.com, without @, "
                    "an international one in its ASCII form (xn--…)",
                )
        if not domains:
            self._wrong(name, "names no domain: write them as in example.com,example.org")
        return frozenset(domains)

    def _bytes(self, name: str, default: int) -> int:
        value = self._value(name)
        if value is None:
            return default
        if not re.fullmatch(r"[0-9]{1,10}", value.strip()) or int(value) == 0:
            self._wrong(name, f"is {_shown(value)}, but must be a number of bytes such as 1048576")
            return default
        return int(value)

    def _provider(self, development: bool) -> str | None:
        if self._value("TELEPHONY_PROVIDER") is None:
            return "console" if development else None
        return self._choice("TELEPHONY_PROVIDER", TELEPHONY_PROVIDERS, "")

    def _twilio(self, needed: bool) -> dict[str, str | None]:
        shapes = {
            "TWILIO_ACCOUNT_SID": (r"AC[0-9a-fA-F]{32}", "AC and 32 hexadecimal digits"),
            "TWILIO_AUTH_TOKEN": (r"[!-~]{16,}", "the token beside the Account SID"),
            "TWILIO_FROM_NUMBER": (r"\+[1-9][0-9]{6,14}", "a number such as +15005550006"),
        }
        values = {}
        for name, (pattern, shape) in shapes.items():
            value = self._value(name)
            values[name.lower()] = value
            if not needed:
                continue
            if value is None:
                self._wrong(name, f"is not set: Twilio's console shows it ({shape})")
            elif not re.fullmatch(pattern, value):
                self._wrong(name, f"does not look right: Twilio's console shows it ({shape})")
        if needed and find_spec("twilio") is None:
            self._wrong(
                "TELEPHONY_PROVIDER",
                "is twilio, but Twilio's library is not installed: "
                "pip install -r requirements-twilio.txt",
            )
        return values


def _issuer_problem(issuer: str) -> str | None:
    try:
        url = urlsplit(issuer)
        host, _ = url.hostname, url.port
    except ValueError:
        return f"is {_shown(issuer)}, which is no URL"
    if url.scheme not in ("https", "http") or not host:
        return f"is {_shown(issuer)}, but must begin with https://"
    if url.username is not None or url.query or url.fragment or "?" in issuer or "#" in issuer:
        return "must be a plain URL, without a user, a query or a fragment"
    if issuer.endswith("/"):
        return "ends with a slash, which the iss of a token does not"
    if "youroktadomain" in host:
        return "still has the placeholder yourOktaDomain"
    if "-admin.okta" in host:
        return f"has the Admin Console's domain ({host}), but tokens come from it without -admin"
    if url.scheme == "http" and not is_loopback(host):
        return "uses http, which anybody on the way can change (https is needed)"
    return None


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine, by name or by address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_placeholder(value: str) -> bool:
    return re.fullmatch(r"\{.*\}|<.*>", value.strip()) is not None


def _shown(value: str) -> str:
    """A value as it may stand in a message: quoted, with control characters escaped, short."""
    text = value if len(value) <= 60 else value[:57] + "…"
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in f"“{text}”")


if __name__ == "__main__":
    try:
        settings = load()
    except SettingsError as error:
        raise SystemExit(f"\n{error}\n") from None
    print(*settings.notes, sep="\n", end="\n" if settings.notes else "")  # noqa: T201
