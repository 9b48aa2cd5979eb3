"""What the commands print fits the terminal, and never controls it."""

import io
import re
import sys

import pytest

from local_okta import terminal
from local_okta.client import Answer

OUTCOME = "Okta denies the registration and shows 'You cannot sign up.' at the email field"
ROW = ("registration-self-service-denied", "client secret", Answer(200, milliseconds=12), OUTCOME)


def shown(capsys) -> list[str]:
    return re.sub(r"\x1b\[\d+m", "", capsys.readouterr().out).splitlines()


@pytest.fixture
def columns(monkeypatch):
    def set_columns(number):
        monkeypatch.setenv("COLUMNS", str(number))
        monkeypatch.setattr(terminal.sys.stdout, "isatty", lambda: True, raising=False)

    return set_columns


@pytest.mark.parametrize("width", [106, 120])
def test_on_a_wide_terminal_a_row_is_a_table_line_that_wraps_in_its_last_column(
    columns, capsys, width
):
    columns(width)
    terminal.heading()
    terminal.row(*ROW, good=True)
    head, first, *rest = shown(capsys)
    assert max(map(len, [head, first, *rest])) <= width
    assert head.index("what came back") == first.index("Okta denies")
    assert all(line.index(line.strip()) == first.index("Okta denies") for line in rest)
    assert " ".join([first, *map(str.strip, rest)]).endswith(OUTCOME)


@pytest.mark.parametrize("width", [40, 80, 105])
def test_on_a_narrow_terminal_a_row_is_stacked_and_there_is_no_heading(columns, capsys, width):
    columns(width)
    terminal.heading()
    terminal.row(*ROW, good=True)
    first, *rest = shown(capsys)
    assert first.startswith("200  registration-self-service-denied,")
    assert all(line.startswith("     ") for line in rest)
    assert max(map(len, [first, *rest])) <= width
    assert " ".join(map(str.strip, rest)).endswith(OUTCOME)


def test_in_a_file_a_row_is_one_line_without_colours(capsys):
    terminal.row(*ROW, good=False)
    assert capsys.readouterr().out == (
        "registration-self-service-denied  client secret    200       12  " + OUTCOME + "\n"
    )


def test_control_characters_are_shown_as_escapes(columns, capsys):
    columns(80)
    terminal.say("\x1b[2J \x9b31m \r \u202e \ud800 é\t\n", bold=True)
    assert shown(capsys)[0] == r"\x1b[2J \x9b31m \r \u202e \ud800 é" + "\t"


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("utf-8", "•… é “a” 日"),
        ("latin-1", '*... é "a" \\u65e5'),
        ("ascii", '*... \\xe9 "a" \\u65e5'),
    ],
)
def test_characters_that_a_terminal_cannot_show_are_replaced(monkeypatch, encoding, words):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding))
    terminal.say("•… é “a” 日")
    sys.stdout.flush()
    assert written.getvalue().decode(encoding) == f"{words}\n"
