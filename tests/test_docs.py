"""README and docs against the project: links, settings, commands, and the log lines they quote.

`tests/pages.py` goes through them. Who makes the project their own may delete the last line of
README.md: nothing is checked then.
"""

import ast
import base64
import re
import time
from pathlib import Path

import pytest

import settings
from app import create_app
from local_okta.authorization_server import LocalOkta, new_key
from local_okta.client import basic_header
from local_okta.samples import SAMPLES
from tests.reader import FENCE, blocks_of, missing
from tests.service import BASIC_PAIR, PROJECT, Service, bearer, oauth_settings

README = PROJECT / "README.md"
DOCUMENTS = [README, *sorted((PROJECT / "docs").glob("*.md"))]
OWN_SAMPLES = ("loyalty", "event-user-locked")

if "as long as this line stands here" not in README.read_text(encoding="utf-8"):
    pytest.skip("README.md does not ask for it", allow_module_level=True)

by_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def prose_of(document: Path) -> str:
    return FENCE.sub("", document.read_text(encoding="utf-8"))


def provoked_log(okta, basic_service, oauth_service, tmp_path) -> str:
    """The logs, after everything that troubleshooting.md quotes has happened once."""
    user, password = BASIC_PAIR
    token, event = SAMPLES["token"], SAMPLES["event-user-created"]
    right = {"Authorization": basic_header(user, password)}
    no_prefix = base64.b64encode(f"{user}:{password}".encode()).decode()
    newline = basic_header(user, f"{password}\n")
    basic_service.call(token.path, json=token.payload)
    for header in (no_prefix, newline, f"Basic {user}:{password}"):
        assert basic_service.call(token.path, headers={"Authorization": header}).status_code == 401
    basic_service.call(event.path, method="GET")
    basic_service.call(event.path, method="GET", headers=right)
    unknown = {"data": {"events": [{"uuid": "u", "eventType": "user.account.lock"}]}}
    basic_service.call(event.path, headers=right, json=unknown)
    for sample in SAMPLES.values():
        basic_service.call(sample.path, headers=right, json=sample.payload)
        basic_service.call(sample.path, headers=right, json={"data": {}})
    # The URL of one hook in another one.
    basic_service.call(token.path, headers=right, json=SAMPLES["saml"].payload)

    now = int(time.time())
    for wrong in (
        okta.issue(iss="https://id.example.com/oauth2/default"),
        okta.issue(aud="https://example.okta.com"),
        okta.issue(cid="0oaOther"),
        okta.issue(scp=["other"]),
        okta.issue(iat=now - 7200, exp=now - 3600),
        okta.issue(iat=now + 300, exp=now + 3900),
        okta.sign(okta.claims(), key=new_key()),
        okta.sign(okta.claims(), {"kid": None}),
        okta.sign(okta.claims(), {"alg": "none"}),
        okta.sign(okta.claims(), {"crit": ["exp"]}),
        "malformed",
        okta.sign(okta.claims(), {"kid": "unknown"}),
    ):
        answer = oauth_service.call(token.path, headers=bearer(wrong))
        # An unknown key may have to wait until the keys may be fetched again.
        assert answer.status_code in (401, 403, 503)
    oauth_service.call(token.path, headers=right)

    with LocalOkta() as down:
        token_of_it = down.issue()
    no_pair = {"BASIC_AUTH_USER": "", "BASIC_AUTH_PASSWORD": ""}
    with Service(oauth_settings(down, **no_pair), tmp_path / "log") as without_keys:
        assert without_keys.call(event.path, json=event.payload, headers=right).status_code == 401
        assert without_keys.call(token.path, headers=bearer(token_of_it)).status_code == 503
    return basic_service.log + oauth_service.log + without_keys.log


def test_every_log_line_and_reason_that_is_quoted_is_a_real_one(
    okta, basic_service, oauth_service, tmp_path
):
    log = provoked_log(okta, basic_service, oauth_service, tmp_path)
    blocks = [block for document in DOCUMENTS for block in blocks_of(document)]
    quoted = [block.text for block in blocks if (block.kind, block.what) == ("text", "quote")]
    lines = [line for text in quoted for line in text.splitlines()]
    assert lines
    assert missing(lines, log) == []
    code = "".join(path.read_text() for path in (PROJECT / "auth").glob("*.py"))
    for path in DOCUMENTS:
        for reason in re.findall(r"reason=([a-z_:]*[a-z])", path.read_text(encoding="utf-8")):
            name = re.sub(r"_\d+$", "_", reason)
            assert f"reason={reason} " in log or f'"{name}' in code, (path.name, reason)


def slugs_of(document: Path) -> list[str]:
    """The anchors that code hosts make of the headings."""
    headings = re.findall(r"^#+ (.+)$", prose_of(document), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def names_in(path: Path) -> set[str]:
    """What a module defines: functions, classes, variables, attributes, fields, parameters."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names |= {getattr(node, kind, None) for kind in ("name", "id", "attr", "arg")}
    return names


@by_document
def test_every_link_leads_somewhere(document):
    for text, target in re.findall(r"\[([^\]]+)\]\(([^)\s]+)\)", prose_of(document)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists(), target
        if anchor:
            assert anchor in slugs_of(path), target
        if path.suffix == ".py" and re.fullmatch(r"`\w+`", text):
            assert text.strip("`") in names_in(path), (text, target)
        elif re.fullmatch(r"[\w./-]+\.(py|md|conf|sh|txt|service)", text):
            assert str(path).endswith(f"/{text}"), (text, target)


@by_document
def test_every_heading_has_an_anchor_of_its_own_and_every_row_its_cells(document):
    slugs = slugs_of(document)
    assert len(set(slugs)) == len(slugs)
    for table in re.findall(r"(?:^\|.*\n)+", prose_of(document), re.MULTILINE):
        rows = [re.sub(r"\\\|", "", row).count("|") for row in table.splitlines()]
        assert len(set(rows)) == 1, table
        assert re.fullmatch(r"[|\- :]+", table.splitlines()[1])


def test_every_page_is_reached_from_the_readme():
    for page in DOCUMENTS[1:]:
        assert f"(docs/{page.name})" in README.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def app():
    return create_app(settings.Settings(basic_auth_user="okta", basic_auth_password="a password"))


def first_cells(heading: str) -> list[str]:
    """The code in the first column of the tables of a section of the README."""
    section = prose_of(README).split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)
    return sorted(code for cell in rows for code in re.findall(r"`([^`]+)`", cell))


def test_the_readme_lists_every_setting():
    # The guide's names for the Basic pair count in .env alone.
    names = sorted([*settings.PARSERS, "USER", "PASSWORD"])
    example = (PROJECT / ".env.example").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^(?:# )?([A-Z][A-Z_]+)=", example, re.MULTILINE)) == names
    assert first_cells("Settings") == names


def test_the_readme_lists_every_command_and_target(app):
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)
    commands = [f"flask okta {name}" for name in app.cli.commands["okta"].commands]
    assert first_cells("Development") == sorted([f"make {name}" for name in targets] + commands)


def test_the_readme_lists_every_path(app):
    routes = {
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in rule.methods & {"GET", "POST"}
    }
    assert set(first_cells("The hooks")) == routes


def test_the_readme_lists_every_file_of_the_layout():
    blocks = [block for block in blocks_of(README) if block.what == "layout"]
    listed = [line.split()[0] for block in blocks for line in block.text.splitlines()]
    assert [name for name in listed if not (PROJECT / name).exists()] == []
    code = {path.name for path in PROJECT.glob("*.py")}
    code |= {f"{path.parent.name}/" for path in PROJECT.glob("*/__init__.py")}
    assert code <= {*listed, "auth/"}


def test_the_readme_gives_a_reason_for_every_dependency():
    requirements = (PROJECT / "requirements.txt").read_text(encoding="utf-8")
    section = README.read_text(encoding="utf-8").split("## Dependencies")[1].lower()
    for name in re.findall(r"^([a-z-]+)", requirements, re.MULTILINE):
        assert f"| {name} |" in section


@by_document
def test_every_command_that_is_named_exists(document, app):
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    code = re.findall(r"`([^`\n]+)`", prose_of(document))
    shell = [block for block in blocks_of(document) if block.kind == "sh"]
    code += [line for block in shell for line in block.text.splitlines()]
    for line in code:
        for target in re.findall(r"\bmake ([a-z-]+)$", line):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), line
        for group, name, rest in re.findall(r"flask (okta|events) ([a-z-]+)([^|]*)", line):
            command = app.cli.commands[group].commands[name]
            words = [word for word in rest.split() if word not in OWN_SAMPLES]
            command.make_context(name, words)
