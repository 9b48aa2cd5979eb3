"""The settings: read once, checked together, kept as one frozen object.

A value comes from the environment or, if it is not set there, from `.env` in the project's folder.
`load_settings()` reports all mistakes in one message. `python -m settings` only checks the
settings, for use before a deploy.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from . import events, names, rules, values
from .dotenv import notes_on_other_files, read_dotenv
from .rules import UsedBy

PROJECT = Path(__file__).parent.parent
DOTENV_PATH = PROJECT / ".env"
DEFAULT_DATABASE_URL = sa.URL.create("sqlite", database=f"{PROJECT}/instance/events.sqlite")
# It is printed in Okta's guide, so everybody knows it.
PUBLISHED_PASSWORD = "supersecret"  # noqa: S105
# The guide's names. They are read only from .env, since in a shell USER is the login name.
GUIDE_NAMES = {"BASIC_AUTH_USER": "USER", "BASIC_AUTH_PASSWORD": "PASSWORD"}

Value = TypeVar("Value")
Default = TypeVar("Default")


class SettingsError(SystemExit):
    """The settings cannot be used. If not caught, it ends the process with its message.

    `problems` maps the name of each wrong setting to the rest of a sentence about it.
    """

    def __init__(self, problems: dict[str, str]):
        self.problems = problems
        width = max(map(len, problems))
        lines = "\n".join(f"  {name:<{width}}  {problem}" for name, problem in problems.items())
        super().__init__(
            f"The settings cannot be used: {len(problems)} of them "
            f"{'is' if len(problems) == 1 else 'are'} missing or wrong.\n\n{lines}\n\n"
            "Set them in the environment or in .env beside app.py; .env.example says what each "
            "one means.\nIf you have no .env yet, `flask okta new-env` makes one."
        )


def setting(
    parse: Callable[[str], Value], default: Default, *, secret: bool = False
) -> Value | Default:
    return field(default=default, repr=not secret, metadata={"parse": parse})


@dataclass(frozen=True)
class Settings:
    """The checked settings, each named as in the environment, but in lower case.

    `repr()` leaves out secrets, since it ends up in logs. The defaults admit no caller.
    """

    auth_mode: str = setting(values.one_of("basic", "oauth"), "basic")
    basic_auth_user: str | None = setting(values.basic_user, None)
    basic_auth_password: str | None = setting(values.credential, None, secret=True)
    basic_auth_password_previous: str | None = setting(values.credential, None, secret=True)
    okta_issuer: str = setting(values.from_okta(values.ISSUER_IN_OKTA, values.issuer), "")
    okta_audience: str = setting(
        values.from_okta("Security > API > Authorization Servers, Audience"), "api://default"
    )
    okta_client_id: frozenset[str] = setting(
        values.list_of(values.from_okta("the app's General tab, Client ID")), frozenset()
    )
    okta_scope: str | None = setting(
        values.from_okta("Security > API > your server > Scopes (one name)"), None
    )
    registration_allowed_domains: frozenset[str] = setting(
        values.list_of(values.domain), frozenset({"okta.com"})
    )
    events_database_url: sa.URL = setting(  # noqa: RUF009 - it returns a field
        events.database_url, DEFAULT_DATABASE_URL, secret=True
    )
    event_threads: int = setting(values.whole_number(0, 64), 2)
    max_content_length: int = setting(values.whole_number(1, 1024**3), 1024**2)
    telephony_provider: str | None = setting(values.one_of("console", "twilio"), None)
    twilio_account_sid: str | None = setting(values.credential, None)
    twilio_auth_token: str | None = setting(values.credential, None, secret=True)
    twilio_from_number: str | None = setting(values.credential, None)
    log_level: str = setting(values.one_of("DEBUG", "INFO", "WARNING", "ERROR"), "INFO")
    log_format: str = setting(values.one_of("text", "json"), "text")
    notes: tuple[str, ...] = ()
    """What the person who starts the service should know, although nothing is wrong."""

    @property
    def published_passwords(self) -> list[str]:
        """The names of the settings that hold the password of Okta's guide."""
        passwords = ("BASIC_AUTH_PASSWORD", "BASIC_AUTH_PASSWORD_PREVIOUS")
        return [name for name in passwords if getattr(self, name.lower()) == PUBLISHED_PASSWORD]

    @property
    def event_hooks_are_off(self) -> bool:
        """Okta sends them only with HTTP Basic."""
        return self.auth_mode == "oauth" and not self.basic_auth_password

    @property
    def events_file(self) -> Path | None:
        """The SQLite file of events, or None if they are in PostgreSQL."""
        url = self.events_database_url
        return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


PARSERS = {each.name.upper(): each.metadata["parse"] for each in fields(Settings) if each.metadata}


def load_settings(
    environ: Mapping[str, str] | None = None,
    dotenv_path: Path = DOTENV_PATH,
    *,
    used_by: UsedBy = "server",
) -> Settings:
    """Read, parse and check the settings. Raises SettingsError, which names every wrong one.

    Under `flask run`, TELEPHONY_PROVIDER defaults to console. Only a server refuses the password
    that is printed in Okta's guide.
    """
    environ = os.environ if environ is None else environ
    dotenv, wrong_lines = read_dotenv(dotenv_path)
    texts = _texts_of_settings(environ, dotenv)
    parsed, wrong_values = _parse(texts)
    if used_by == "flask run":
        parsed.setdefault("telephony_provider", "console")
    settings = Settings(**parsed)
    misspelt = names.misspelt_names({*environ, *dotenv}, PARSERS, texts)
    problems = wrong_lines | wrong_values
    # An .env that cannot be read may hold what seems to be missing.
    if ".env" not in problems:
        # A setting that is wrong is not missing.
        for others in (names.problems(misspelt, settings), rules.problems(settings, used_by)):
            problems |= {name: why for name, why in others.items() if name not in problems}
    if problems:
        raise SettingsError(problems)
    only_in_dotenv = dotenv.keys() - environ.keys() - PARSERS.keys() - {*GUIDE_NAMES.values()}
    # What is in .env is meant for this service, even if the right name is set as well.
    misspelt |= names.misspelt_names(dotenv, PARSERS, ())
    notes = [*rules.notes(settings, texts, used_by), *names.notes(misspelt, only_in_dotenv)]
    if used_by == "flask run":
        notes += notes_on_other_files(dotenv_path.parent)
    return replace(settings, notes=tuple(notes))


def _texts_of_settings(environ: Mapping[str, str], dotenv: Mapping[str, str]) -> dict[str, str]:
    """The texts of the settings that are set, by name.

    What is empty in the environment is not set, even if `.env` has a value.
    """
    texts = {**dotenv, **environ}
    for name, guide_name in GUIDE_NAMES.items():
        texts[name] = texts.get(name) or dotenv.get(guide_name, "")
    return {name: texts[name] for name in PARSERS if texts.get(name)}


def _parse(texts: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The values, named as the fields of Settings, and what is wrong with the others."""
    parsed, wrong = {}, {}
    for name, text in texts.items():
        try:
            values.refuse_quotation_marks(text)
            parsed[name.lower()] = PARSERS[name](text)
        except ValueError as error:
            wrong[name] = str(error)
    return parsed, wrong
