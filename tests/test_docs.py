"""README and docs, gone through as a reader does: every command, every block of code, every link.

A document is walked from top to bottom in a copy of the project of its own. What a fenced block is,
its first line says:

    sh             commands, typed as they stand; each ends with status 0, a server starts to serve
    sh fails       commands that end with status 1
    sh elsewhere   commands for which there is a tunnel or an Okta org to be had; not run
    text           what the commands before it print, line by line; "…" stands for anything
    text log       lines of the service's log
    text quote     lines of a log that a test further down makes happen
    text example   lines as they look with an org; not checked
    text layout    files of this project
    dotenv         lines for .env; if they need an org, only looked at
    python FILE    the contents of that file; so json FILE
    diff FILE      changes in that file, with "@@" between them
"""

import ast
import base64
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import requests

import settings
from app import create_app
from local_okta.authorization_server import LocalOkta, new_key
from local_okta.client import basic_header
from local_okta.samples import SAMPLES
from tests.service import (
    BASIC_PAIR,
    PROJECT,
    Service,
    bearer,
    free_port,
    oauth_settings,
)

DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
by_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)

# Typed in a block of "sh", and yet not run here.
NOT_RUN = {
    "make demo": "test_end_to_end runs the demo",
    "make test": "it is what runs this",
    "make lint": "it checks nothing that a document says",
    ". .venv/bin/activate": "it changes the reader's shell, and the commands here have the path",
}
# What Okta and this service exchange, and pictures: there is nothing in them to be run.
SHOWN = ("http", "mermaid")
PATIENCE = 30


@dataclass(frozen=True)
class Block:
    """A fenced block: `kind` and `what` are the words of its first line."""

    kind: str
    what: str
    text: str


@dataclass(frozen=True)
class TryRow:
    """A row of a table that says what a start with one wrong setting leads to."""

    setting: str
    status: str
    reason: str


TRY_ROW = re.compile(r"\| `([A-Z_]+=\S+) make run` \| (\d{3}) \| `reason=(\S+)` \|")
FENCE = re.compile(r"^```(\w+)(?: ([^\n]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def parts_of(document: Path) -> list[Block | TryRow]:
    text = document.read_text(encoding="utf-8")
    found = [(match.start(), Block(*match.groups(default=""))) for match in FENCE.finditer(text)]
    found += [(match.start(), TryRow(*match.groups())) for match in TRY_ROW.finditer(text)]
    return [part for _, part in sorted(found, key=lambda pair: pair[0])]


def blocks_of(document: Path, kind: str) -> list[Block]:
    parts = parts_of(document)
    return [part for part in parts if isinstance(part, Block) and part.kind == kind]


def prose_of(document: Path) -> str:
    return FENCE.sub("", document.read_text(encoding="utf-8"))


# --- Going through a document -------------------------------------------------------------------


class Reader:
    """Somebody with terminals and an editor, in a copy of the project of their own.

    The commands are typed as they stand. Only the ports that they name are moved aside, so that
    nothing else on this machine is in the way.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.ports = {5000: free_port(), 8010: free_port(), 8081: free_port()}
        self.servers: dict[str, subprocess.Popen] = {}
        self.output = ""
        self.written: set[str] = set()
        self._printed: dict[str, str] = {}
        self._again = []
        copy_of_the_project(folder)

    def go_through(self, document: Path) -> None:
        rows = []
        for part in parts_of(document):
            if isinstance(part, TryRow):
                rows.append(part)
                continue
            if rows:
                self.try_settings(rows)
                rows = []
            if part.kind not in SHOWN:
                getattr(self, f"on_{part.kind}")(part)
        assert not rows
        self.check_style(sorted(path for path in self.written if path.endswith(".py")))

    def close(self) -> None:
        for name in list(self.servers):
            self.stop(name)

    def on_sh(self, block: Block) -> None:
        assert block.what in ("", "fails", "elsewhere")
        lines = [] if block.what == "elsewhere" else block.text.splitlines()
        commands = self._again = [line for line in lines if line not in NOT_RUN]
        if commands:
            self.type_in(commands, 1 if block.what else 0)

    def on_text(self, block: Block) -> None:
        lines = [self.here(line) for line in block.text.splitlines() if line.strip()]
        if block.what == "log":
            wait_until(lambda: all_in(lines, self.log), lambda: missing(lines, self.log))
        elif block.what == "" and self._again:
            # A server may still be loading the code that was just written.
            wait_until(lambda: in_order(lines, self.output), lambda: self.output, self.once_more)

    def on_dotenv(self, block: Block) -> None:
        path = self.folder / ".env"
        given = dict(line.split("=", 1) for line in self.here(block.text).splitlines())
        given = {
            name: self._printed[name] if value == "{as printed}" else value
            for name, value in given.items()
        }
        if any("{" in value for value in given.values()):
            given = {name: example_of(value) for name, value in given.items()}
            assert wrong_settings(given) == []
            return
        kept = [
            line
            for line in path.read_text(encoding="utf-8").splitlines()
            if line.partition("=")[0] not in given
        ]
        lines = [*kept, *(f"{name}={value}" for name, value in given.items())]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def on_python(self, block: Block) -> None:
        assert block.what, "whose file is it?"
        self.write(block.what, block.text)

    def on_json(self, block: Block) -> None:
        json.loads(block.text)
        if block.what:
            self.write(block.what, block.text)

    def on_diff(self, block: Block) -> None:
        text = (self.folder / block.what).read_text(encoding="utf-8")
        for change in re.split(r"(?m)^@@\n", block.text):
            lines = change.splitlines(keepends=True)
            old = "".join(line[1:] for line in lines if line[0] != "+")
            new = "".join(line[1:] for line in lines if line[0] != "-")
            assert text.count(old) == 1, f"not once in {block.what}:\n{old}"
            text = text.replace(old, new)
        self.write(block.what, text)

    def write(self, path: str, text: str) -> None:
        (self.folder / path).write_text(text, encoding="utf-8")
        self.written.add(path)

    def type_in(self, commands: list[str], status: int) -> None:
        outputs = []
        for command in commands:
            self.prepare(command)
            if is_server(command):
                outputs.append(self.serve(command))
            else:
                done = self.run(command)
                assert done.returncode == status, f"{command}\n{done.stdout}{self.log}"
                outputs.append(done.stdout)
        self.output = "".join(outputs)
        for name, value in re.findall(r"^([A-Z_]+)=(\S+)$", self.output, re.MULTILINE):
            self._printed[name] = value

    def once_more(self) -> None:
        """Look again at what a server prints, or send again what it was not ready for."""
        last = self._again[-1]
        if is_server(last):
            self.output = self.log_of(name_of(last)).read_text()
        else:
            self.output = "".join(self.run(command).stdout for command in self._again)

    def prepare(self, command: str) -> None:
        """What a reader of this page has from another one: settings, and a service to call."""
        if command != "make run" and not (self.folder / ".env").exists():
            subprocess.run(["make", "-s", ".env"], cwd=self.folder, check=True, capture_output=True)
        if re.search("okta (preview|verify-event-hook)", command) and not self.servers:
            self.serve("make run")

    def run(self, command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.here(command),
            shell=True,
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def serve(self, command: str) -> str:
        """Start a server, in the place of the one that runs already; what it prints."""
        name = name_of(command)
        self.stop(name)
        log = self.log_of(name)
        before = len(log.read_text()) if log.exists() else 0
        self.start(name, command)
        wait_until(lambda: answers(self.port_of(command)), log.read_text)
        return log.read_text()[before:]

    def start(self, name: str, command: str, **environment: str) -> None:
        with self.log_of(name).open("a") as log:
            self.servers[name] = subprocess.Popen(
                self.here(command),
                shell=True,
                cwd=self.folder,
                env=self.environment() | environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def stop(self, name: str) -> None:
        process = self.servers.pop(name, None)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(PATIENCE)

    def try_settings(self, rows: list[TryRow]) -> None:
        """Start the service with each wrong setting, and send a call that would be right."""
        ports = {row: free_port() for row in rows}
        for row, port in ports.items():
            name, value = self.here(row.setting).split("=", 1)
            self.start(str(port), "make run", **{name: value, "FLASK_RUN_PORT": str(port)})
        for row, port in ports.items():
            log = self.log_of(str(port))
            wait_until(lambda port=port: answers(port), log.read_text)
            url = f"http://127.0.0.1:{port}"
            done = self.run(f"flask okta preview token --auth client-secret --url {url}")
            assert re.search(rf"^{row.status} ", done.stdout, re.MULTILINE), done.stdout
            assert f" reason={row.reason} " in log.read_text()
            self.stop(str(port))

    @property
    def log(self) -> str:
        path = self.log_of(name_of("make run"))
        return path.read_text() if path.exists() else ""

    def log_of(self, name: str) -> Path:
        return self.folder.parent / f"{name}.log"

    def port_of(self, command: str) -> int:
        named = re.search(r"-b 127\.0\.0\.1:(\d+)", self.here(command))
        return int(named[1]) if named else self.ports[5000 if command == "make run" else 8010]

    def here(self, text: str) -> str:
        for usual, port in self.ports.items():
            text = text.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{port}")
        return text

    def environment(self) -> dict[str, str]:
        service = f"http://127.0.0.1:{self.ports[5000]}"
        kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        return kept | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "WEB_CONCURRENCY": "1",
            "FLASK_RUN_PORT": str(self.ports[5000]),
            "FLASK_OKTA_PREVIEW_URL": service,
            "FLASK_OKTA_VERIFY_EVENT_HOOK_URL": service,
            "FLASK_OKTA_SERVE_PORT": str(self.ports[8010]),
            "FLASK_OKTA_ROTATE_KEYS_PORT": str(self.ports[8010]),
        }

    def check_style(self, paths: list[str]) -> None:
        for check in (["check"], ["format", "--check"]) if paths else ():
            done = subprocess.run(
                [sys.executable, "-m", "ruff", *check, "--no-cache", *paths],
                cwd=self.folder,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr


def copy_of_the_project(folder: Path) -> None:
    """The project as it is cloned, with everything installed already."""
    ours = shutil.ignore_patterns(".*", "__pycache__", "instance")
    shutil.copytree(PROJECT, folder, ignore=ours)
    shutil.copy(PROJECT / ".env.example", folder)
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    for stamp in (".installed", ".installed-dev"):
        (folder / ".venv" / stamp).touch()


def is_server(command: str) -> bool:
    return re.match("make run$|flask okta serve$|gunicorn", command) is not None


def name_of(server: str) -> str:
    return re.sub("[^a-z]+", "-", server)


def answers(port: int) -> bool:
    try:
        requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5)
    except requests.RequestException:
        return False
    return True


def wait_until(condition, otherwise, meanwhile=lambda: None) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, otherwise()
        time.sleep(0.05)
        meanwhile()


def in_order(lines: list[str], output: str) -> bool:
    rest = iter(plain(output))
    return all(any(pattern(line).fullmatch(given) for given in rest) for line in lines)


def all_in(lines: list[str], log: str) -> bool:
    return not missing(lines, log)


def missing(lines: list[str], log: str) -> list[str]:
    given = plain(log)
    return [line for line in lines if not any(map(pattern(line).fullmatch, given))]


def pattern(line: str) -> re.Pattern:
    [line] = plain(line)
    return re.compile(".*".join(map(re.escape, line.split("…"))))


def plain(output: str) -> list[str]:
    """The lines without what is different each time: times, milliseconds, spaces, colours."""
    output = re.sub(r"\x1b\[[0-9;]*m", "", output)
    output = re.sub(r"(?m)^\d{4}-\d\d-\d\dT[0-9:.]+Z ", "", output)
    output = re.sub(r"(?m)^\[[^]]+ \+0000\] \[\d+\] \[[A-Z]+\] ", "", output)
    output = re.sub(r"(?m)\b(\d{3}) +\d+ +(?=Okta|refused)", r"\1 # ", output)
    output = re.sub(r"\b\d+ ms\b", "# ms", output)
    return [" ".join(line.split()) for line in output.splitlines()]


def example_of(value: str) -> str:
    value = re.sub(r"\{[^}]*Domain\}", "example.okta.com", value)
    return re.sub(r"\{[^}]*\}", "0oaExample", value)


def wrong_settings(given: dict[str, str]) -> list:
    """What is wrong with these; others stand beside them in `.env`."""
    try:
        settings.load(given, Path("no .env"), development=True)
    except settings.SettingsError as error:
        return [problem for problem in error.problems if problem[0] in given]
    return []


@by_document
def test_it_can_be_gone_through(document, tmp_path):
    reader = Reader(tmp_path / "project")
    try:
        reader.go_through(document)
    finally:
        reader.close()


# --- What the log says --------------------------------------------------------------------------


def provoked_lines(okta, basic_service, oauth_service, tmp_path) -> str:
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
    basic_service.call("/SAMLHook", headers=right, json={"data": {}})
    telephony = SAMPLES["telephony"]
    basic_service.call(telephony.path, headers=right, json=telephony.payload)
    unknown = {"data": {"events": [{"uuid": "u", "eventType": "user.account.lock"}]}}
    basic_service.call(event.path, headers=right, json=unknown)

    now = int(time.time())
    for wrong in (
        okta.issue(iss="https://id.example.com/oauth2/default"),
        okta.issue(aud="https://example.okta.com"),
        okta.issue(cid="0oaOther"),
        okta.issue(scp=["other"]),
        okta.issue(iat=now - 7200, exp=now - 3600),
        okta.issue(iat=now + 300, exp=now + 3900),
        okta.sign(okta.claims(), key=new_key()),
        okta.sign(okta.claims(), {"kid": "unknown"}),
        okta.sign(okta.claims(), {"kid": None}),
        okta.sign(okta.claims(), {"alg": "none"}),
        okta.sign(okta.claims(), {"crit": ["exp"]}),
        "malformed",
    ):
        assert oauth_service.call(token.path, headers=bearer(wrong)).status_code in (401, 403)
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
    log = provoked_lines(okta, basic_service, oauth_service, tmp_path)
    [document] = [path for path in DOCUMENTS if path.name == "troubleshooting.md"]
    quoted = [block.text for block in blocks_of(document, "text") if block.what == "quote"]
    lines = [line for text in quoted for line in text.splitlines()]
    assert lines
    assert missing(lines, log) == []
    code = "".join(path.read_text() for path in (PROJECT / "auth").glob("*.py"))
    for path in DOCUMENTS:
        for reason in re.findall(r"reason=([a-z_:]*[a-z])", path.read_text(encoding="utf-8")):
            name = re.sub(r"_\d+$", "_", reason)
            assert f"reason={reason} " in log or f'"{name}' in code, (path.name, reason)


# --- What is named must be there, and what is there must be named -------------------------------


def slugs_of(document: Path) -> list[str]:
    """The anchors that code hosts make of the headings."""
    headings = re.findall(r"^#+ (.+)$", prose_of(document), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


def names_in(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
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
    readme = DOCUMENTS[0].read_text(encoding="utf-8")
    for page in DOCUMENTS[1:]:
        assert f"(docs/{page.name})" in readme


def first_cells(heading: str) -> list[str]:
    """The code in the first column of the tables of a section of the README."""
    section = prose_of(DOCUMENTS[0]).split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)
    return [code for cell in rows for code in re.findall(r"`([^`]+)`", cell)]


def test_the_settings_of_code_example_and_readme_are_the_same():
    code = (PROJECT / "settings.py").read_text(encoding="utf-8")
    in_code = set(re.findall(r'"([A-Z][A-Z_]+)"', code)) - set(settings.LOG_LEVELS)
    example = (PROJECT / ".env.example").read_text(encoding="utf-8")
    in_example = re.findall(r"^(?:# )?([A-Z][A-Z_]+)=", example, re.MULTILINE)
    assert sorted(in_example) == sorted(in_code)
    assert sorted(first_cells("Settings")) == sorted(in_code)


def test_the_commands_and_targets_of_code_and_readme_are_the_same():
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE)
    commands = [*create_app_to_read().cli.commands["okta"].commands]
    named = first_cells("Development")
    assert sorted(named) == sorted(
        [f"make {target}" for target in targets] + [f"flask okta {name}" for name in commands]
    )


@by_document
def test_every_command_that_is_named_exists(document):
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    code = re.findall(r"`([^`\n]+)`", prose_of(document))
    code += [line for block in blocks_of(document, "sh") for line in block.text.splitlines()]
    for line in code:
        for target in re.findall(r"\bmake ([a-z]+)$", line):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), line
        for name, rest in re.findall(r"flask okta ([a-z-]+)([^|]*)", line):
            check_command(create_app_to_read().cli.commands["okta"].commands[name], rest.split())


def check_command(command: click.Command, arguments: list[str]) -> None:
    # A sample of the reader's own is not known here.
    arguments = [word for word in arguments if word != "loyalty"]
    command.make_context(command.name, arguments, resilient_parsing=False)


def create_app_to_read():
    return create_app(settings.Settings(basic_auth_user="okta", basic_auth_password="a password"))


def test_the_readme_lists_every_path():
    routes = {
        f"{method} {rule.rule}"
        for rule in create_app_to_read().url_map.iter_rules()
        for method in rule.methods & {"GET", "POST"}
    }
    assert set(first_cells("The hooks")) == routes


def test_the_layout_is_the_projects():
    [block] = [block for block in blocks_of(DOCUMENTS[0], "text") if block.what == "layout"]
    listed = [line.split()[0] for line in block.text.splitlines()]
    assert [name for name in listed if not (PROJECT / name).exists()] == []
    code = {path.name for path in PROJECT.glob("*.py")}
    code |= {f"{path.parent.name}/" for path in PROJECT.glob("*/__init__.py")}
    assert code <= {*listed, "auth/"}


def test_the_readme_gives_a_reason_for_every_dependency():
    requirements = (PROJECT / "requirements.txt").read_text(encoding="utf-8")
    section = DOCUMENTS[0].read_text(encoding="utf-8").split("## Dependencies")[1].lower()
    for name in re.findall(r"^([a-z-]+)", requirements, re.MULTILINE):
        assert f"| {name} |" in section


def test_the_guides_header_is_the_guides_pair():
    text = (PROJECT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    assert basic_header(*settings.PUBLISHED_PAIR) in text


@by_document
def test_diagrams_can_be_drawn(document):
    """As far as can be told without a browser: every sender is declared, every part is closed."""
    for block in blocks_of(document, "mermaid"):
        kind, *lines = [line.strip() for line in block.text.splitlines()]
        assert kind == "sequenceDiagram"
        people, depth = set(), 0
        for line in lines:
            participant = re.fullmatch(r"participant (\w+) as .+", line)
            message = re.fullmatch(r"(\w+)-?->>(\w+): [^;#]+", line)
            if participant:
                people.add(participant[1])
            elif message:
                assert {message[1], message[2]} <= people, line
            else:
                assert re.fullmatch(r"alt .+|else .+|end", line), line
                depth += line.startswith("alt") - (line == "end")
                assert depth >= (not line.startswith("end"))
        assert depth == 0
