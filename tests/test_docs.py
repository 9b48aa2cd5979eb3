"""README and docs against the project: links, settings, commands, and the log lines they quote.

`tests/slow/test_docs_walkthrough.py` goes through them. If you make the project your own, delete
the last line of README.md to switch these checks off.
"""

import ast
import os
import re
import time
from pathlib import Path

import pytest
from joserfc.jws import serialize_compact

from app import create_app
from local_okta.authorization_server import new_key
from local_okta.client import basic_header
from local_okta.samples import SAMPLES
from settings import PARSERS, Settings, load_settings
from tests.support.gunicorn import (
    BASIC_PAIR,
    INLINE_HOOK,
    INLINE_SAMPLES,
    PROJECT,
    app_with_commands,
    basic_settings,
    bearer,
)
from tests.support.page import BASIC
from tests.support.pages import FENCE, blocks_of, missing

README = PROJECT / "README.md"
DOCUMENTS = [README, *sorted((PROJECT / "docs").glob("*.md"))]
OWN_SAMPLES = ("loyalty", "event-user-locked")

if "as long as this line is here" not in README.read_text(encoding="utf-8"):
    pytest.skip("README.md does not ask for it", allow_module_level=True)

by_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def prose_of(document: Path) -> str:
    return FENCE.sub("", document.read_text(encoding="utf-8"))


def provoke(okta, database: Path) -> None:
    """Cause everything that troubleshooting.md quotes."""
    event, token = "/userCreated", "/tokenHook"
    right = basic_header(*BASIC_PAIR)
    own = basic_settings(EVENTS_DATABASE_URL=f"sqlite:///{database}")
    basic = create_app(load_settings(own, Path(os.devnull))).test_client()
    for header in (None, right.removeprefix("Basic "), basic_header(BASIC_PAIR[0], "wrong")):
        basic.post(token, headers=header and {"Authorization": header})
    basic.get(event)
    basic.get(event, headers={"Authorization": right})
    # A hook in Okta with the URL of another one.
    event_type = INLINE_HOOK.payload["eventType"]
    others = (s for s in INLINE_SAMPLES[::-1] if s.payload["eventType"] != event_type)
    other = SAMPLES.get("saml") or next(others, INLINE_HOOK)
    basic.post(token, headers={"Authorization": right}, json=other.payload)

    endpoint, _ = basic.application.url_map.bind("").match(token, "POST")
    basic.application.view_functions[endpoint] = lambda: {}["missing"]
    basic.post(token, headers={"Authorization": right})

    own = {"auth_mode": "oauth", "okta_scope": okta.scopes[0]}
    oauth = create_app(Settings(**own, okta_issuer=okta.issuer)).test_client()
    oauth.post(event)
    now = int(time.time())
    for wrong in (
        okta.issue(iss="https://id.example.com/oauth2/default"),
        okta.issue(aud="https://example.okta.com"),
        okta.issue(scp=["other"]),
        okta.issue(exp=now - 3600),
        okta.issue(iat=now + 300),
        okta.sign(okta.claims(), key=new_key()),
        okta.sign(okta.claims(), {"kid": None}),
        serialize_compact({"alg": "RS256"}, "{}", okta.keys[0]),
        okta.sign(okta.claims(), {"alg": "none"}),
        okta.sign(okta.claims(), {"crit": ["exp"]}),
        "mal.for.med",
    ):
        oauth.post(token, headers=bearer(wrong))
    unreachable = "http://127.0.0.1:1/oauth2/default"
    without_keys = create_app(Settings(**own, okta_issuer=unreachable)).test_client()
    without_keys.post(token, headers=bearer(okta.issue(iss=unreachable)))


def test_every_quoted_log_line_and_reason_is_real(okta, tmp_path, capsys):
    provoke(okta, tmp_path / "events.sqlite")
    log = capsys.readouterr().err
    blocks = [block for document in DOCUMENTS for block in blocks_of(document)]
    quoted = [block.text for block in blocks if (block.kind, block.what) == ("text", "quote")]
    lines = [line for text in quoted for line in text.splitlines()]
    assert lines
    assert missing(lines, log) == []
    code = "".join(path.read_text() for path in (PROJECT / "auth").glob("*.py"))
    for path in DOCUMENTS:
        for reason in re.findall(r"reason=([a-z_:]*[a-z])", path.read_text(encoding="utf-8")):
            assert f"reason={reason} " in log or f'"{reason}' in code, (path.name, reason)


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


def test_the_tutorial_shows_every_line_of_the_examples():
    shown: dict[str, str] = {}
    for block in blocks_of(PROJECT / "docs" / "tutorial.md"):
        if block.kind == "python" and block.what.startswith("from "):
            name = block.what.removeprefix("from ")
            shown[name] = shown.get(name, "") + block.text
    examples = {str(path.relative_to(PROJECT)): path for path in PROJECT.glob("examples/*.py")}
    assert shown.keys() == examples.keys()
    for name, path in examples.items():
        # The docstring comes before the imports.
        code = path.read_text(encoding="utf-8").partition("\nimport ")
        assert lines_of(shown[name]) == lines_of("".join(code[1:]))


def lines_of(text: str) -> list[str]:
    """The lines that are not blank: a page has blank lines of its own where it splits the code."""
    return [line for line in text.splitlines() if line]


def test_the_readme_links_to_every_page():
    for page in DOCUMENTS[1:]:
        assert f"(docs/{page.name})" in README.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def app():
    return app_with_commands(Settings(**BASIC))


def first_cells(heading: str) -> list[str]:
    """The code in the first column of the tables of a section of the README."""
    section = prose_of(README).split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)
    return sorted(code for cell in rows for code in re.findall(r"`([^`]+)`", cell))


def test_the_readme_lists_every_setting():
    # The guide's names for the Basic pair count only in .env.
    names = sorted([*PARSERS, "USER", "PASSWORD"])
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
