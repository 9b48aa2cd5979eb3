"""What the text of a setting may be.

Each parser takes the text of a setting and returns its value, or raises ValueError with a sentence
that continues after the setting's name.
"""

import os
import re
from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

import sqlalchemy as sa

MOST_THREADS = 64
ISSUER_IN_OKTA = "Security > API > Authorization Servers, Issuer URI"
# At both ends of a value, these are quotation marks and not part of it.
QUOTATION_MARKS = ('"', "'", "“”„‟«»", "‘’‚‛‹›")
DATABASE_URLS = (
    "sqlite:////full/path/of/a/file or postgresql+psycopg://user:password@host/database, with an "
    "@ in the password written as %40"
)


def refuse_quotation_marks(text: str) -> None:
    text = text.strip()
    if len(text) > 1 and any(text[0] in marks and text[-1] in marks for marks in QUOTATION_MARKS):
        raise ValueError(
            "begins and ends with a quotation mark: remove both (docker run --env-file, for one, "
            "takes them as part of the value)"
        )


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
    """A word copied from the Admin Console; `where` names the place."""

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
    """The Issuer URI of an authorization server, exactly as the `iss` of its tokens."""
    url = urlsplit(text)
    host, _ = url.hostname or "", url.port
    # The org's own server has its endpoints in /oauth2/v1, and no /oauth2 in its name.
    endpoint = re.match(r"(.*?)(/oauth2)?/(v1|\.well-known)(/|$)", text)
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
    if url.scheme == "http" and not is_on_this_machine(text):
        raise ValueError("uses http, which others can change in transit (https is needed)")
    return text


def list_of(parse: Callable[[str], str]) -> Callable[[str], frozenset[str]]:
    def parse_list(text: str) -> frozenset[str]:
        items = frozenset(parse(item) for item in text.split(",") if item.strip())
        if not items:
            raise ValueError("is an empty list: name at least one, or remove the setting")
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


def number_of_threads(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,2}", text.strip()) or int(text) > MOST_THREADS:
        raise ValueError(f"is {shown(text)}, but must be a whole number from 0 to {MOST_THREADS}")
    return int(text)


def number_of_bytes(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text.strip()) or int(text) == 0:
        raise ValueError(f"is {shown(text)}, but must be a number of bytes such as 1048576")
    return int(text)


def database_url(text: str) -> sa.URL:
    """An SQLite file or a PostgreSQL database.

    No message quotes what may be part of a password.
    """
    text = text.strip()
    try:
        # SQLAlchemy would take what follows an @ in the password as part of the host.
        url = sa.make_url(text) if text.isprintable() and text.count("@") < 2 else None
    except (sa.exc.ArgumentError, ValueError):
        url = None
    if url is None:
        raise ValueError(f"is not a URL such as {DATABASE_URLS}")
    if url.drivername == "sqlite":
        return _sqlite_url(url)
    # Many platforms hand out the second, which SQLAlchemy does not know.
    if url.drivername in ("postgresql+psycopg", "postgres", "postgresql"):
        return _postgresql_url(url.set(drivername="postgresql+psycopg"))
    raise ValueError(f"is for another database or driver: it must be {DATABASE_URLS}")


def _sqlite_url(url: sa.URL) -> sa.URL:
    file = url.database or ":memory:"
    if url.host or url.username or url.query:
        raise ValueError("has a host or options, but an SQLite URL is only sqlite:/// and a path")
    if file == ":memory:":
        raise ValueError("is a database in memory, which ends with its process: name a file")
    if not os.path.isabs(file):
        raise ValueError("has a relative path: write sqlite:////full/path/of/the/file")
    if os.path.isdir(file):
        raise ValueError(f"is a folder, {shown(file)}: name a file in it")
    if not os.path.isdir(folder := os.path.dirname(file)):
        raise ValueError(f"is in a folder that does not exist: {shown(folder)}")
    return url


def _postgresql_url(url: sa.URL) -> sa.URL:
    try:
        from psycopg.pq import Conninfo  # noqa: PLC0415 - it may not be installed
    except ImportError:
        needed = "pip install -r requirements/postgresql.txt"
        raise ValueError(f"is PostgreSQL, which needs: {needed}") from None
    if not url.database or "/" in url.database:
        raise ValueError("must name one database after the host: postgresql://…@host/database")
    if url.port is not None and not 0 < url.port < 65536:
        raise ValueError("has a port that is not between 1 and 65535")
    options = {option.keyword.decode(): option for option in Conninfo.get_defaults()}
    for name, value in url.query.items():
        if name not in options:
            raise ValueError(f"has an option that PostgreSQL does not have: {shown(name)}")
        # An asterisk is libpq's mark for what must not be shown.
        if options[name].dispchar == b"*" or name.startswith("scram_"):
            raise ValueError(
                f"has a secret among its options ({name}), where it would be shown: a password "
                "goes between user and host (user:password@host), another secret into a service "
                "file (?service=…)"
            )
        # Only these may be given more than once.
        if not isinstance(value, str) and name not in ("host", "port"):
            raise ValueError(f"has the option {name} twice")
    return url


def shown(text: str) -> str:
    """A value for a message: quoted, short, with control characters escaped."""
    text = text if len(text) <= 60 else text[:57] + "…"
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in f"“{text}”")


def is_on_this_machine(url: str) -> bool:
    """Whether a URL's host is this machine, by name or by address."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
