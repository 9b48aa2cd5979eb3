"""What the text of a setting may be.

Each parser takes the text of a setting and returns its value, or raises ValueError with a sentence
that continues after the setting's name.
"""

import re
from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

ISSUER_IN_OKTA = "Security > API > Authorization Servers, Issuer URI"
# At both ends of a value, these are quotation marks and not part of it.
QUOTATION_MARKS = ('"', "'", "“”„‟«»", "‘’‚‛‹›")


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
        *others, last = choices
        raise ValueError(f"is {shown(text)}, but can only be {', '.join(others)} or {last}")

    return parse


def credential(text: str) -> str:
    if re.fullmatch(r"\{.*\}|<.*>", text.strip()):
        raise ValueError("is still a placeholder: replace it with your own value")
    if not text.isprintable() or text != text.strip():
        raise ValueError("contains a control character, or begins or ends with white space")
    return text


def basic_user(text: str) -> str:
    if ":" in text:
        raise ValueError(
            "contains a colon, which HTTP Basic does not allow in a user name (RFC 7617, section 2)"
        )
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
    # Reading a port that is not one raises ValueError.
    host, _ = url.hostname or "", url.port
    # The org's own server has its endpoints in /oauth2/v1, and no /oauth2 in its name.
    endpoint = re.match(r"(.*?)(/oauth2)?/(v1|\.well-known)(/|$)", text)
    is_plain = url.username is None and "?" not in text and "#" not in text
    if url.scheme not in ("https", "http") or not host or not is_plain:
        raise ValueError(
            "must be a URL such as https://example.okta.com/oauth2/default, without a user, a "
            "query or a fragment"
        )
    if endpoint:
        raise ValueError(f"is the URL of an endpoint; the issuer is {shown(endpoint[1])}")
    if text.endswith("/"):
        raise ValueError("ends with a slash, which the iss of a token does not")
    if "youroktadomain" in host:
        raise ValueError("still has the placeholder yourOktaDomain")
    if "-admin.okta" in host:
        raise ValueError(
            f"has the Admin Console's domain ({host}), but the one without -admin issues tokens"
        )
    if url.scheme == "http" and not is_on_this_machine(text):
        raise ValueError("uses http, which can be altered in transit: use https")
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


def whole_number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,10}", text.strip()) or not least <= int(text) <= most:
            raise ValueError(f"is {shown(text)}, but must be a whole number from {least} to {most}")
        return int(text)

    return parse


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
