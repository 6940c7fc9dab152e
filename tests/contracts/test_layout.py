"""The layout that a reader is promised: one folder is one role, and a name says what is inside."""

import ast
import subprocess
from collections import Counter
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("stream", "scorer", "trainer", "deploy")
ROOT_ENTRIES = {
    *PACKAGES,
    "tests",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "Makefile",
    "requirements.lock",
    ".pre-commit-config.yaml",
    ".ci",
    ".gitignore",
}
NAMELESS = {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc"}
MAX_MODULE_LINES = 350
MAX_MODULES = 12
"""Of a folder: more than a reader keeps in mind. One kind of thing, many times over, is the exception."""
MANY_OF_A_KIND = {"scorer/importance", "trainer/backtest/runs"}

MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> set[str]:
    """Return the top-level names of what a module imports."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def test_the_root_holds_only_what_has_a_place_there():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing says which files belong to the project")
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {name.partition("/")[0] for name in listing.splitlines()} <= ROOT_ENTRIES


def test_no_module_or_folder_has_a_name_that_says_nothing():
    parts = {part for path in MODULES for part in Path(relative(path)).with_suffix("").parts}
    assert {part for part in parts if NAMELESS & set(part.split("_"))} == set()


def test_an_init_is_one_docstring():
    for path in MODULES:
        if path.name == "__init__.py":
            body = ast.parse(path.read_text()).body
            assert len(body) == 1, relative(path)
            assert ast.get_docstring(ast.Module(body, []), clean=False), relative(path)


def test_every_package_has_an_init():
    without = {relative(path.parent) for path in MODULES if not (path.parent / "__init__.py").exists()}
    assert without == set()


def test_no_folder_holds_more_modules_than_one_keeps_in_mind():
    counts = Counter(relative(path.parent) for path in MODULES if path.name != "__init__.py")
    assert {
        folder: count for folder, count in counts.items() if count > MAX_MODULES and folder not in MANY_OF_A_KIND
    } == {}


def test_neither_modules_nor_folders_import_in_a_circle():
    """A module on the ground floor of a package stands for itself: there the rooms meet."""
    names = {relative(path).removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in MODULES}
    edges = [(name, target) for name, path in names.items() for target in targets(path, names) if target != name]
    rooms = {name: relative(path.parent) if "/" in relative(path.parent) else name for name, path in names.items()}
    for places in ({name: name for name in names}, rooms):
        graph: dict[str, set[str]] = {place: set() for place in places.values()}
        for name, target in edges:
            if places[name] != places[target]:
                graph[places[name]].add(places[target])
        TopologicalSorter(graph).prepare()  # says which stand in a circle


def targets(path: Path, names: Mapping[str, Path]) -> set[str]:
    """Return the modules of the project that one imports."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names} & names.keys()
            found |= members or {node.module}
    return found & names.keys()


def test_only_the_edges_import_faust():
    importers = {relative(path) for path in MODULES if "faust" in imported(path)}
    worker = {path for path in importers if path.startswith("stream/worker/")}
    edges = {relative(path) for path in MODULES if path.name in {"agent.py", "__main__.py"}}
    assert importers <= edges | worker


def test_imports_stand_at_the_top_of_a_module_but_for_what_one_command_or_process_needs():
    # Help is quick, and a process does not pay for the libraries of the others that its package has.
    command_line = {*(ROOT / "deploy" / "commands").glob("*.py"), ROOT / "deploy/cli.py", ROOT / "deploy/doctor.py"}
    nested = {
        relative(path)
        for path in MODULES
        if path not in command_line and path.name != "__main__.py"
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        if any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(function))
    }
    # transformers converts what only it can read; imported above, it would slow down every process that has a model.
    assert nested == {"scorer/model/pretrained.py"}


def test_the_command_line_imports_nothing_by_a_string():
    """A string keeps neither the types nor the arrows of an import."""
    assert [relative(path) for path in (ROOT / "deploy").rglob("*.py") if "import_module" in path.read_text()] == []


def test_no_module_is_longer_than_one_can_read_in_a_sitting():
    assert {relative(path) for path in MODULES if len(path.read_text().splitlines()) > MAX_MODULE_LINES} == set()


def test_every_module_has_a_docstring():
    assert {relative(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))} == set()
