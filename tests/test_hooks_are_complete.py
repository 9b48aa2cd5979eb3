"""If a hook is only partly removed, the tests name what is left, and a command names the file."""

import json
import subprocess
import sys

import click
import pytest
from flask import Flask

import hooks
from local_okta import samples
from local_okta.samples import SAMPLES
from settings import Settings
from tests.support.gunicorn import INLINE_SAMPLES, app_with_commands
from tests.support.leftovers import leftovers
from tests.support.page import BASIC
from tests.support.pages import copy_of_the_project

SAMPLE = INLINE_SAMPLES[0]
HOOK = hooks.HOOKS[-1]


@pytest.fixture
def project(tmp_path):
    copy_of_the_project(tmp_path / "project")
    return tmp_path / "project"


def change(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_every_hook_is_complete(project):
    assert leftovers(project) == []


def test_everything_left_of_a_removed_module_is_named(project):
    path = project / "hooks" / f"{HOOK}.py"
    hook_paths = [sample for sample in SAMPLES.values() if f'"{sample.path}"' in path.read_text()]
    assert hook_paths
    path.unlink()
    left = "\n".join(leftovers(project))
    assert f"lists {HOOK}, but there is no hooks/{HOOK}.py" in left
    for sample in hook_paths:
        assert f"has the sample {sample.name}, but no hook has the path {sample.path}" in left
        assert f"local_okta/samples/{sample.name}.json belongs to no hook" in left
    assert f"tests/test_hooks_{HOOK}.py:" in left


def test_the_suite_names_what_is_left_and_runs_no_test(project):
    (project / "hooks" / f"{HOOK}.py").unlink()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "2"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    first, *left = (done.stdout + done.stderr).strip().splitlines()
    pages = "docs/write-a-hook.md, docs/remove-a-hook.md"
    assert first == f"ERROR: hooks, samples, tests and pages do not match ({pages}):"
    assert [line.strip() for line in left] == leftovers(project)


def test_a_hook_that_is_not_listed_is_named(project):
    change(project / "hooks" / "__init__.py", f'    "{HOOK}",\n', "")
    assert leftovers(project) == [f"hooks/{HOOK}.py is a hook that hooks/__init__.py does not list"]


def test_a_sample_without_an_entry_or_a_file_is_named(project):
    folder = project / "local_okta" / "samples"
    (folder / f"{SAMPLE.name}.json").rename(folder / "other.json")
    entry, other = leftovers(project)
    assert entry.endswith(f"but there is no local_okta/samples/{SAMPLE.name}.json")
    assert other == "local_okta/samples/other.json belongs to no hook"


def test_code_that_needs_a_missing_hook_or_sample_is_named(project):
    (project / "commands" / "own.py").write_text("from hooks.own import HANDLERS\n")
    (project / "tests" / "support" / "own.py").write_text("import re\nfrom hooks import own\n")
    (project / "tests" / "test_own.py").write_text(f"\nBODY = SAMPLES[{json.dumps('own')}]\n")
    (project / "tests" / "test_rule.py").write_text("from hooks.own import rule\n")
    assert leftovers(project) == [
        "commands/own.py:1 needs the hook own, which does not exist",
        "tests/support/own.py:2 needs the hook own, which does not exist",
        "tests/test_own.py:2 needs the sample own, which does not exist",
        "tests/test_rule.py:1 needs the hook own, which does not exist",
    ]


def test_pages_are_checked_only_if_the_readme_asks_for_it(project):
    readme = project / "README.md"
    asked = "as long as this line is here"
    readme.write_text(f"| `POST /own` | [own](hooks/own.py) |\n\n{asked}\n")
    assert "README.md:1 describes hooks/own.py, which does not exist" in leftovers(project)
    change(readme, asked, "")
    assert leftovers(project) == []


def test_a_listed_hook_without_a_module_is_named_at_the_start(monkeypatch):
    monkeypatch.setattr(hooks, "HOOKS", ("gone",))
    with pytest.raises(ImportError, match=r'hooks/__init__.py lists "gone", but there is no hooks'):
        hooks.register_hooks(Flask(__name__))


def test_an_import_that_fails_inside_a_hook_is_reported_unchanged(monkeypatch, tmp_path):
    (tmp_path / "needy.py").write_text("import not_installed")
    monkeypatch.setattr(hooks, "HOOKS", ("needy",))
    monkeypatch.setattr(hooks, "__path__", [str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="not_installed"):
        hooks.register_hooks(Flask(__name__))


BROKEN = [
    (b'{\n  "data": {,}\n}', ".json:2 is not JSON: "),
    (b'{"data": "\xff"}', ".json is not UTF-8\n"),
    (b"[]", ".json is not a JSON object\n"),
    (None, ".json does not exist, but local_okta/samples/__init__.py:"),
]


@pytest.mark.parametrize(("content", "message"), BROKEN)
@pytest.mark.parametrize("arguments", [["preview", SAMPLE.name], ["preview"], ["serve"], ["demo"]])
def test_a_broken_sample_is_named_by_every_command(
    project, monkeypatch, arguments, content, message
):
    folder = project / "local_okta" / "samples"
    monkeypatch.setattr(samples, "_FOLDER", folder)
    path = folder / f"{SAMPLE.name}.json"
    path.unlink() if content is None else path.write_bytes(content)
    if arguments[0] == "preview":
        monkeypatch.setattr("local_okta.preview.check_answers", lambda *_: None)
    done = app_with_commands(Settings(**BASIC)).test_cli_runner().invoke(args=["okta", *arguments])
    assert done.exit_code == 1
    assert f"Error: local_okta/samples/{SAMPLE.name}{message}" in done.output


@pytest.mark.parametrize(("content", "message"), BROKEN[:-1])
def test_a_broken_sample_is_named_before_any_test_runs(project, content, message):
    (project / "local_okta" / "samples" / f"{SAMPLE.name}.json").write_bytes(content)
    [left] = leftovers(project)
    assert f"{left}\n".startswith(f"local_okta/samples/{SAMPLE.name}{message}")


def test_a_sample_that_gets_another_answer_is_named_before_any_test_runs(project):
    change(project / "local_okta/samples/__init__.py", f'"{SAMPLE.expected}"', '"hangs up"')
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/test_layout.py"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    line = (
        f"  local_okta/samples/{SAMPLE.name}.json is sent to {SAMPLE.path}: "
        f"Okta {SAMPLE.expected}. Expected: Okta hangs up"
    )
    assert line in done.stderr.splitlines()


def test_a_hook_without_a_sample_is_named(project):
    change(project / "local_okta/samples/__init__.py", f'"{SAMPLES["token"].path}"', '"/elsewhere"')
    assert "hooks/token.py has no sample in local_okta/samples/__init__.py" in leftovers(project)


@pytest.mark.parametrize("data", ["[]", "{}", '{"events": {}}', '{"events": ["not an object"]}'])
def test_a_sample_of_an_event_hook_must_have_events(tmp_path, data):
    path = tmp_path / "own.json"
    path.write_text(f'{{"data": {data}}}')
    assert samples.read(path, "token") == json.loads(path.read_text())
    with pytest.raises(click.ClickException, match=r"own\.json is for an event hook, but its data"):
        samples.read(path, "event")
