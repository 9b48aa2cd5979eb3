"""Which packages of the project may import which."""

import ast
import subprocess
import sys

import pytest

from tests.support.gunicorn import PROJECT, basic_settings, environment

FRONT = {"settings", "logs", "auth", "hooks", "inbox", "errors"}
MAY_IMPORT = {
    "settings": set(),
    "logs": set(),
    "auth": {"settings"},
    "inbox": {"logs"},
    "hooks": {"inbox", "logs"},
    "errors": {"hooks", "logs"},
    "commands": FRONT,
    "local_okta": set(),
    "app": {*FRONT, "commands", "local_okta"},
    "tools": {*FRONT, "app", "commands", "local_okta"},
    "tests": {*FRONT, "app", "commands", "local_okta"},
    "examples": set(),
}


def imports_of(name: str) -> set[str]:
    """The other packages and modules of this project that a package or module imports."""
    files = [PROJECT / f"{name}.py"] if name in ("app", "errors", "logs") else []
    files += (PROJECT / name).rglob("*.py")
    assert files
    imported = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add((node.module or "").split(".")[0])
    return imported & MAY_IMPORT.keys() - {name}


# A folder may have been removed, as docs/remove-a-hook.md says.
@pytest.mark.parametrize("name", [name for name in MAY_IMPORT if list(PROJECT.glob(f"{name}*"))])
def test_a_package_imports_only_what_it_may(name):
    assert imports_of(name) <= MAY_IMPORT[name]


def test_a_deployed_service_imports_neither_commands_nor_the_local_okta():
    code = "import sys, app; app.create_app(); print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.check_output(
        [sys.executable, "-c", code], cwd=PROJECT, env=environment(basic_settings()), text=True
    )
    assert {"app", "auth"} <= set(loaded.split())
    assert not {"commands", "local_okta", "tools", "tests"} & set(loaded.split())
