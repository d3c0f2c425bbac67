"""Who may import whom, and what every module owes its reader."""

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "src" / "clothseg"
RECIPE = ("config.py", "data_prep.py", "loader.py", "model.py", "callbacks.py", "train.py", "infer.py")

LAYERS = (
    {"errors", "types", "garment_names"},
    {"labels"},
    {"settings", "encoding", "rle", "progress", "cores"},
    {"pictures", "transforms", "scores", "drawing"},
    {"model", "data"},
    {"prediction"},
    {"training", "evaluation"},
    {"serving", "cluster", "export"},
    {"cli"},
)
"""From the bottom up; a module imports from layers below its own, and a folder from itself."""

MAY_IMPORT_TORCH = (
    "model/",
    "data/datamodule",
    "data/dataset",
    "data/sampler",
    "training/",
    "export/",
    "prediction/runtimes/torch",
)
TORCH = {"torch", "torchvision", "lightning", "segmentation_models_pytorch", "torchmetrics", "timm"}

MODULES = sorted(path for path in LIBRARY.rglob("*.py"))
NAMES_TO_AVOID = {"utils", "helpers", "common", "core", "manager", "misc", "base"}


def name_of(path: Path) -> str:
    return path.relative_to(LIBRARY).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
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


def layer_of(name: str) -> int:
    top = name.split("/")[0].removesuffix(".py")
    found = [number for number, layer in enumerate(LAYERS) if top in layer]
    assert found, f"{name} is in none of LAYERS"
    return found[0]


def test_imports_point_down():
    wrong = []
    for path in MODULES:
        name = name_of(path)
        if name == "__init__.py" or name.startswith("starter"):
            continue
        own = name.split("/")[0].removesuffix(".py")
        for imported in imports_of(path):
            parts = imported.split(".")
            if parts[0] != "clothseg" or parts[1:2] in ([], ["__version__"]) or parts[1] in (own, "starter"):
                continue
            if layer_of(parts[1]) >= layer_of(name):
                wrong.append(f"{name} imports {imported}, which is not below it")
    assert not wrong, "\n".join(wrong)


def test_torch_and_the_recipe_are_imported_only_where_allowed():
    recipe = {name.removesuffix(".py") for name in RECIPE}
    wrong = []
    for path in MODULES:
        name = name_of(path)
        unwanted = recipe if name.startswith(MAY_IMPORT_TORCH) else recipe | TORCH
        wrong += [f"{name} imports {one}" for one in imports_of(path) if one.split(".")[0] in unwanted]
    assert not wrong, "\n".join(wrong)


def module_of(imported: str) -> Path | None:
    """Return the file that an import names: a module, a package's `__init__`, or the home of the name at its end."""
    parts = imported.split(".")
    while parts[0] == "clothseg" and len(parts) > 1:
        path = LIBRARY.joinpath(*parts[1:])
        if path.with_suffix(".py").exists():
            return path.with_suffix(".py")
        if (path / "__init__.py").exists():
            return path / "__init__.py"
        parts.pop()
    return None


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Return nodes that lead back to the first of them; empty if there are none."""
    finished: set[str] = set()

    def search(path: list[str]) -> list[str]:
        for other in sorted(graph[path[-1]] - finished):
            found = [*path[path.index(other) :], other] if other in path else search([*path, other])
            if found:
                return found
        finished.add(path[-1])
        return []

    return next((found for node in sorted(graph) if (found := search([node]))), [])


def test_neither_files_nor_folders_import_each_other_in_a_circle():
    files: dict[str, set[str]] = {name_of(path): set() for path in MODULES}
    folders: dict[str, set[str]] = {}
    for path in MODULES:
        for imported in filter(None, map(module_of, imports_of(path))):
            files[name_of(path)].add(name_of(imported))
            homes = [str(one.parent) if one.parent != LIBRARY else str(one) for one in (path, imported)]
            folders.setdefault(homes[1], set())
            folders.setdefault(homes[0], set()).update({homes[1]} - {homes[0]})
    assert sum(map(len, files.values())) > len(files), "the imports were not read"
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert not circle_in(files)
    assert not circle_in(folders)


def test_a_module_starts_with_one_sentence():
    wrong = []
    for path in (*MODULES, *(ROOT / name for name in RECIPE)):
        docstring = ast.get_docstring(tree_of(path))
        if not docstring or not docstring.splitlines()[0].endswith("."):
            wrong.append(path.name)
    assert not wrong, wrong


def test_modules_are_small_and_named_after_a_thing():
    wrong = []
    for path in MODULES:
        if len(path.read_text(encoding="utf-8").splitlines()) > 400:
            wrong.append(f"{name_of(path)} has over 400 lines: find the second thing in it")
        if path.stem in NAMES_TO_AVOID:
            wrong.append(f"{name_of(path)} is not named after what is in it")
    assert not wrong, "\n".join(wrong)


def test_functions_are_small_and_take_few_parameters():
    wrong = []
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.FunctionDef):
                continue
            docstring = node.body[0] if ast.get_docstring(node) else None
            documented = docstring.end_lineno - docstring.lineno + 1 if docstring and docstring.end_lineno else 0
            length = (node.end_lineno or node.lineno) - node.lineno + 1 - documented
            if length > 60:
                wrong.append(f"{name_of(path)}:{node.name} has {length} lines without its docstring")
            if len(node.args.posonlyargs + node.args.args) > 7:
                wrong.append(f"{name_of(path)}:{node.name} has over 7 positional parameters")
    assert not wrong, "\n".join(wrong)


def test_the_recipe_is_short():
    lines = [line for name in RECIPE for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    assert len(lines) <= 250


ALL_HELP = """
import contextlib, io, json, runpy, sys
from clothseg import cli

shown = {}
for name in ("", *cli.COMMANDS, "data_prep.py", "loader.py", "train.py", "infer.py"):
    text = io.StringIO()
    sys.argv = [name, "--help"]
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        runpy.run_path(name, run_name="__main__") if name.endswith(".py") else cli.main([name, "--help"][not name :])
    shown[name] = len(text.getvalue())
print(json.dumps([shown, sorted(sys.modules)]))
"""


def test_help_does_not_import_torch():
    ended = subprocess.run([sys.executable, "-c", ALL_HELP], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    shown, modules = json.loads(ended.stdout)
    assert len(shown) > len(RECIPE)
    assert not [name for name, length in shown.items() if length < 200]
    assert "clothseg.settings" in modules
    assert not (TORCH | {"onnx", "openvino", "transformers"}) & set(modules)
