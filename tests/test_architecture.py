"""Who may import whom, and what every module owes its reader."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "src" / "clothseg"
RECIPE = ("config.py", "data_prep.py", "loader.py", "model.py", "callbacks.py", "train.py", "infer.py")

LAYERS = (
    {"errors"},
    {"labels"},
    {"settings", "jpeg", "encoding", "freed_memory"},
    {"pictures", "transforms", "scores", "drawing"},
    {"model", "data"},
    {"prediction"},
    {"training", "evaluation"},
    {"serving", "scaling", "export"},
    {"cli"},
)
"""From the bottom up; a module imports from layers below its own, and a folder from itself."""

MAY_IMPORT_TORCH = (
    "model/",
    "data/loading/",
    "training/",
    "export/",
    "prediction/runtimes/torch",
)
TORCH = {"torch", "torchvision", "lightning", "segmentation_models_pytorch", "torchmetrics", "timm"}

MODULES = sorted(path for path in LIBRARY.rglob("*.py"))
SMALLEST_NAMES_TO_AVOID = {"utils", "helpers", "common", "core", "manager", "misc", "base"}


def name_of(path: Path) -> str:
    return path.relative_to(LIBRARY).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(path: Path) -> set[str]:
    """Return every dotted name that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write it in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def place_in(name: str) -> int:
    top = name.split("/")[0].removesuffix(".py")
    return next(number for number, layer in enumerate(LAYERS) if top in layer)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path):
    name = name_of(path)
    if name == "__init__.py" or name.startswith("starter"):
        return
    own = name.split("/")[0].removesuffix(".py")
    for imported in imports_of(path):
        parts = imported.split(".")
        if parts[0] != "clothseg" or parts[1:2] in ([], ["__version__"]) or parts[1] == own:
            continue
        if parts[1] == "starter":  # data, not code
            continue
        assert place_in(parts[1]) < place_in(name), f"{name} imports {imported}, which is not below it"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_torch_stays_where_it_is_needed(path):
    name = name_of(path)
    if not name.startswith(MAY_IMPORT_TORCH):
        assert not {imported.split(".")[0] for imported in imports_of(path)} & TORCH


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_library_never_imports_the_recipe(path):
    recipe = {name.removesuffix(".py") for name in RECIPE}
    assert not {imported.split(".")[0] for imported in imports_of(path)} & recipe


def test_no_modules_import_each_other_in_a_circle():
    graph = {}
    names = {"clothseg." + name_of(path).removesuffix(".py").replace("/", "."): path for path in MODULES}
    for name, path in names.items():
        graph[name] = {other for other in names if other in imports_of(path) or _imports_from(path, other)} - {name}
    finished, open_ = set(), []

    def visit(name):
        assert name not in open_, f"circle: {' → '.join([*open_[open_.index(name) :], name])}"
        if name not in finished:
            open_.append(name)
            for other in sorted(graph[name]):
                visit(other)
            open_.pop()
            finished.add(name)

    for name in graph:
        visit(name)


def _imports_from(path: Path, module: str) -> bool:
    return any(imported.rpartition(".")[0] == module for imported in imports_of(path))


@pytest.mark.parametrize("path", [*MODULES, *(ROOT / name for name in RECIPE)], ids=lambda path: path.name)
def test_a_module_begins_with_one_sentence(path):
    docstring = ast.get_docstring(tree_of(path))
    assert docstring, f"{path} has no docstring"
    first = docstring.splitlines()[0]
    assert first.endswith("."), f"{path}: {first!r} is no sentence"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_are_small_and_named_after_a_thing(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, "find the second thing in it"
    assert path.stem not in SMALLEST_NAMES_TO_AVOID


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_are_small_and_take_few_parameters(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef):
            docstring = node.body[0] if ast.get_docstring(node) else None
            documented = docstring.end_lineno - docstring.lineno + 1 if docstring and docstring.end_lineno else 0
            length = (node.end_lineno or node.lineno) - node.lineno + 1 - documented
            assert length <= 60, f"{name_of(path)}:{node.name} has {length} lines without its docstring"
            assert len(node.args.posonlyargs + node.args.args) <= 7, f"{name_of(path)}:{node.name}"


def test_the_recipe_is_short():
    lines = [line for name in RECIPE for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    assert len(lines) <= 250


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "clothseg.cli", "--help"],
        *(
            [sys.executable, "-m", "clothseg.cli", name, "--help"]
            for name in (
                "prepare",
                "verify",
                "pack",
                "preview",
                "train",
                "predict",
                "evaluate",
                "compare",
                "export",
                "serve",
            )
        ),
        *([sys.executable, name, "--help"] for name in ("data_prep.py", "loader.py", "train.py", "infer.py")),
    ],
    ids=lambda command: " ".join(command[-3:]),
)
def test_help_does_not_import_torch(command):
    ended = subprocess.run(
        [command[0], "-X", "importtime", *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines() if line.startswith("import time")}
    assert "clothseg.settings" in imported
    assert not imported & TORCH
