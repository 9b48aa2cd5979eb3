"""What is left of a hook that was only partly removed. This reads the hooks without importing them.

A hook is a module that `hooks/__init__.py` lists, samples with an entry and a file each, tests,
and rows of the README.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click

from local_okta.samples import read

REGISTRY, SAMPLES, README = "hooks/__init__.py", "local_okta/samples", "README.md"
CODE = ("commands", "tests", "tools")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def leftovers(project: Path) -> list[str]:
    """A sentence for each line or file that belongs to something that does not exist."""
    listed = dict(_hooks(project / REGISTRY))
    code = {path.stem: path.read_text("utf-8") for path in (project / "hooks").glob("*.py")}
    entries = dict(_entries(project / SAMPLES / "__init__.py"))
    files = {path.stem: path for path in (project / SAMPLES).glob("*.json")}

    found = []
    for name, line in listed.items():
        if name not in code:
            found.append(f"{REGISTRY}:{line} lists {name}, but there is no hooks/{name}.py")
    for name, text in code.items():
        if re.search(r"^bp = ", text, re.MULTILINE) and name not in listed:
            found.append(f"hooks/{name}.py is a hook that {REGISTRY} does not list")
    sent_to = {path for _, path, _ in entries.values()}
    for name in listed:
        if name in code and not sent_to & {*_paths(code[name])}:
            found.append(f"hooks/{name}.py has no sample in {SAMPLES}/__init__.py")

    served = {path for text in code.values() for path in _paths(text)}
    removed = set()
    for name, (kind, path, line) in entries.items():
        entry = f"{SAMPLES}/__init__.py:{line} has the sample {name}"
        if path not in served:
            removed.add(name)
            found.append(f"{entry}, but no hook has the path {path}")
        if name in files:
            found += _broken(files[name], kind)
        else:
            found.append(f"{entry}, but there is no {SAMPLES}/{name}.json")
    found += [
        f"{SAMPLES}/{name}.json belongs to no hook"
        for name in sorted(files)
        if name not in entries or name in removed
    ]
    found += _needs(project, set(code), set(entries) - removed)
    found += _pages(project, set(code))
    return found


def _hooks(path: Path) -> Iterator[tuple[str, int]]:
    """Name and line of each module in HOOKS."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "HOOKS":
            for name in ast.walk(node.value):
                if isinstance(name, ast.Constant):
                    yield name.value, name.lineno


def _paths(text: str) -> list[str]:
    return re.findall(r'"(/\w[^"]*)"', text)


def _entries(path: Path) -> Iterator[tuple[str, tuple[str, str, int]]]:
    """Name, kind, path and line of each entry in the list of samples."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Sample":
            name, kind, hook_path = (ast.literal_eval(argument) for argument in node.args[:3])
            yield name, (kind, hook_path, node.lineno)


def _broken(path: Path, kind: str) -> Iterator[str]:
    try:
        read(path, kind)
    except click.ClickException as error:
        yield error.message


def _needs(project: Path, modules: set[str], samples: set[str]) -> Iterator[str]:
    """What the code outside of `hooks` imports from there, and the samples that tests name."""
    needs = re.compile(
        r'SAMPLES\["(?P<sample>.+?)"\]|^from hooks(?:\.| import )(?P<module>(?!register_)[a-z]\w*)'
    )
    code = (path for folder in CODE for path in sorted((project / folder).rglob("*.py")))
    for path in (*sorted(project.glob("*.py")), *code):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            need = needs.search(line)
            if need and (need["sample"] or need["module"]) not in {*samples, *modules}:
                kind = "the sample" if need["sample"] else "the hook"
                name = need["sample"] or need["module"]
                where = path.relative_to(project)
                yield f"{where}:{number} needs {kind} {name}, which does not exist"
                break


def _pages(project: Path, modules: set[str]) -> Iterator[str]:
    """The links of README and docs, unless the README asks for no check."""
    if "as long as this line is here" not in (project / README).read_text("utf-8"):
        return
    for path in (project / README, *sorted((project / "docs").glob("*.md"))):
        # Not in fenced blocks: those show what a reader should write.
        prose = FENCE.sub(lambda block: "\n" * block[0].count("\n"), path.read_text("utf-8"))
        for number, line in enumerate(prose.splitlines(), 1):
            for module in sorted(set(re.findall(r"\]\((?:\.\./)?hooks/(\w+)\.py\)", line))):
                if module not in modules:
                    name = path.relative_to(project)
                    yield f"{name}:{number} describes hooks/{module}.py, which does not exist"
