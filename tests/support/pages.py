"""Goes through a page of README and docs as a reader does, in a copy of the project.

The first line of a fenced block says what it is:

    sh             commands, run as they are; each ends with status 0 or is a server that starts
    sh fails       commands that end with status 1
    sh elsewhere   commands that need a tunnel or an Okta org; not run
    text           what the commands before it print, line by line; "…" stands for anything
    text log       lines of the service's log
    text quote     lines of a log that a test in test_docs reproduces
    text example   lines as they look with an org; not checked
    text layout    files of this project
    dotenv         lines for .env; if they need an org, only their names are checked
    python FILE    the contents of that file; json FILE is the same
    python from FILE   lines of that file, unchanged
    diff FILE      changes to that file, with "@@" between them

A table row "| `NAME=value make run` | status | `reason=…` |" is a start with a wrong setting.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import NamedTuple

from settings import PARSERS
from tests.support.gunicorn import PROJECT, free_port

PATIENCE = 30
FENCE = re.compile(r"^```(\w+)(?: ([^\n]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TRY_ROW = re.compile(r"\| `([A-Z_]+=\S+ make run)` \| (\d{3}) \| `(reason=\S+)` \|")
SERVER = re.compile(r"(?:[A-Z_]+=\S+ )?(make run|flask okta serve|flask --app \S+ run|gunicorn.*)$")

# These create .env, or do not need it.
NEED_NO_ENV = ("make run", "flask okta new-env", ". .venv/bin/activate")


class Block(NamedTuple):
    """A fenced block: `kind` and `what` are the words of its first line."""

    kind: str
    what: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks, and the rows that try a setting as blocks of the kind "try"."""
    text = page.read_text(encoding="utf-8")
    found = [(match.start(), Block(*match.groups(default=""))) for match in FENCE.finditer(text)]
    for row in TRY_ROW.finditer(text):
        found.append((row.start(), Block("try", f"{row[2]} {row[3]}", row[1])))
    return [block for _, block in sorted(found)]


class Typed(NamedTuple):
    """A command in a terminal, and what it has printed so far."""

    process: subprocess.Popen
    path: Path

    @property
    def output(self) -> str:
        return self.path.read_text()


class Reader:
    """A reader with terminals and an editor.

    The commands are run as they are, except that free ports replace those that they name.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.ports = {5000: free_port(), 8010: free_port(), 8081: free_port()}
        self.servers: dict[str, Typed] = {}
        self._typed: list[Typed] = []
        self._terminals = count()
        copy_of_the_project(folder)

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *exc_info) -> None:
        for name in list(self.servers):
            self.stop(name)

    def go_through(self, page: Path) -> None:
        for block in blocks_of(page):
            # What Okta and the service exchange, and diagrams: there is nothing to run.
            if block.kind not in ("http", "mermaid"):
                getattr(self, f"on_{block.kind}")(block)

    def on_sh(self, block: Block) -> None:
        assert block.what in ("", "fails", "elsewhere")
        self._typed = []
        for command in block.text.splitlines():
            # The demo has a test of its own.
            if block.what != "elsewhere" and command != "make demo":
                self.prepare(command)
                if SERVER.match(command):
                    self._typed.append(self.serve(command))
                else:
                    self._typed.append(self.run(command, status=1 if block.what else 0))

    @property
    def output(self) -> str:
        """What the last commands have printed. Servers may still be running."""
        return "".join(typed.output for typed in self._typed)

    def on_text(self, block: Block) -> None:
        lines = [self.here(line) for line in block.text.splitlines() if line.strip()]
        if block.what == "log":
            wait_until(lambda: not missing(lines, self.log), lambda: missing(lines, self.log))
        elif block.what == "" and self._typed:
            wait_until(lambda: in_order(lines, self.output), lambda: self.output)

    def on_try(self, block: Block) -> None:
        self.serve(block.text)
        status, reason = block.what.split()
        output = self.run("flask okta preview token --auth client-secret", status=1).output
        assert re.search(rf"^{status} ", output, re.MULTILINE), output
        assert f" {reason} " in self.log

    def on_dotenv(self, block: Block) -> None:
        given = dict(line.split("=", 1) for line in self.here(block.text).splitlines())
        assert given.keys() <= PARSERS.keys()
        printed = dict(re.findall(r"^([A-Z_]+)=(\S+)$", self.output, re.MULTILINE))
        for name in [name for name, value in given.items() if value == "{as printed}"]:
            given[name] = printed[name]
        if any("{" in value for value in given.values()):
            return
        path = self.folder / ".env"
        lines = path.read_text(encoding="utf-8").splitlines()
        lines = [line for line in lines if line.partition("=")[0] not in given]
        lines += [f"{name}={value}" for name, value in given.items()]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def on_python(self, block: Block) -> None:
        # A test in test_docs compares such lines with their file.
        if not block.what.startswith("from "):
            self.save(self.folder / block.what, block.text)

    def on_json(self, block: Block) -> None:
        json.loads(block.text)
        if block.what:
            self.on_python(block)

    def on_diff(self, block: Block) -> None:
        path = self.folder / block.what
        text = path.read_text(encoding="utf-8")
        for change in re.split(r"(?m)^@@\n", block.text):
            lines = change.splitlines(keepends=True)
            old = "".join(line[1:] for line in lines if line[0] != "+")
            new = "".join(line[1:] for line in lines if line[0] != "-")
            assert text.count(old) == 1, f"not exactly once in {block.what}:\n{old}"
            text = text.replace(old, new)
        self.save(path, text)

    def save(self, path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        # This replaces the reloader, which may miss what is saved while it starts.
        if path.suffix == ".py" and "make run" in self.servers:
            self.serve("make run")

    def prepare(self, command: str) -> None:
        """What a reader has from another page already: settings, and a running service."""
        if command not in NEED_NO_ENV and not (self.folder / ".env").exists():
            subprocess.run(["make", "-s", ".env"], cwd=self.folder, check=True, capture_output=True)
        if re.search("okta (preview|verify-event-hook)", command) and not self.servers:
            self.serve("make run")

    def run(self, command: str, status: int) -> Typed:
        """Run a command that ends with this status."""
        typed = self.start(command)
        typed.process.wait(PATIENCE)
        assert typed.process.returncode == status, f"{command}\n{typed.output}{self.log}"
        return typed

    def serve(self, command: str) -> Typed:
        """Start a server, after stopping one that uses its port."""
        name = SERVER.match(command)[1]
        for other in [other for other in self.servers if self.port_of(other) == self.port_of(name)]:
            self.stop(other)
        typed = self.servers[name] = self.start(command)
        wait_until(lambda: answers(self.port_of(name)), lambda: typed.output)
        return typed

    def start(self, command: str) -> Typed:
        path = self.folder.parent / f"{next(self._terminals)}.log"
        with path.open("w") as log:
            process = subprocess.Popen(
                self.here(command),
                shell=True,
                cwd=self.folder,
                env=self.environment(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        return Typed(process, path)

    def stop(self, name: str) -> None:
        if name in self.servers:
            typed = self.servers.pop(name)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(typed.process.pid, signal.SIGTERM)
            typed.process.wait(PATIENCE)
            wait_until(lambda: not answers(self.port_of(name)), lambda: typed.output)

    @property
    def log(self) -> str:
        return self.servers["make run"].output if "make run" in self.servers else ""

    def port_of(self, name: str) -> int:
        usual = {"make run": 5000, "flask okta serve": 8010}
        return self.ports[usual.get(name, 5000 if name.startswith("flask --app ") else 8081)]

    def here(self, text: str) -> str:
        for usual, port in self.ports.items():
            text = text.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{port}")
        return text

    def environment(self) -> dict[str, str]:
        service, okta = f"http://127.0.0.1:{self.ports[5000]}", str(self.ports[8010])
        kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        return kept | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "WEB_CONCURRENCY": "1",
            "FLASK_RUN_PORT": str(self.ports[5000]),
            "FLASK_RUN_RELOAD": "False",
            "FLASK_OKTA_PREVIEW_URL": service,
            "FLASK_OKTA_VERIFY_EVENT_HOOK_URL": service,
            "FLASK_OKTA_SERVE_PORT": okta,
            "FLASK_OKTA_ROTATE_KEYS_PORT": okta,
        }


def copy_of_the_project(folder: Path) -> None:
    """The project as it is cloned, with everything installed already."""
    ours = shutil.ignore_patterns(".*", "__pycache__", "instance")
    shutil.copytree(PROJECT, folder, ignore=ours)
    for name in (".dockerignore", ".env.example", ".gitignore"):
        shutil.copy(PROJECT / name, folder)
    (folder / ".venv").mkdir()
    for path in Path(sys.prefix).glob("[!.]*"):
        (folder / ".venv" / path.name).symlink_to(path)
    for stamp in (".installed", ".installed-dev"):
        (folder / ".venv" / stamp).touch()


def answers(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition, otherwise) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, otherwise()
        time.sleep(0.05)


def in_order(lines: list[str], output: str) -> bool:
    rest = iter(plain(output))
    return all(any(pattern(line).fullmatch(given) for given in rest) for line in lines)


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
    output = re.sub(r"\b\d+ (ms|s apart)\b", r"# \1", output)
    return [" ".join(line.split()) for line in output.splitlines()]
