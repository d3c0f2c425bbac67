"""The table of commands, and how each one starts and exits."""

from __future__ import annotations

import contextlib
import errno
import functools
import gc
import importlib
import inspect
import io
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from types import FrameType, ModuleType
from typing import Annotated, Any, NoReturn, Protocol, get_args

from clothseg import __version__
from clothseg.errors import ClothsegError, MachineError, SettingError, nearest, one_line, path_problem
from clothseg.errors import command as command_line
from clothseg.settings import Settings, tyro

COMMANDS = {
    "prepare": (
        "clothseg.data.prepare_command:Prepare",
        "download Fashionpedia, or take a custom dataset, and paint masks",
    ),
    "verify": ("clothseg.data.verify:Verify", "check a prepared dataset and print its counts"),
    "pack": ("clothseg.data.pack:Pack", "pack prepared data into large files, to train from a remote store"),
    "preview": ("clothseg.data.preview:Preview", "save pictures of what training will see"),
    "train": ("clothseg.training.train_command:Train", "train a model, or resume a training"),
    "predict": ("clothseg.cluster.predict_command:Predict", "segment photos and folders"),
    "evaluate": ("clothseg.evaluation.evaluate:Evaluate", "score a model on prepared data"),
    "compare": ("clothseg.evaluation.compare:Compare", "compare two models on the same photos"),
    "export": ("clothseg.export.export_command:Export", "write a portable model and compare it with the checkpoint"),
    "import": (
        "clothseg.export.import_command:Import",
        "write a model of other people as a portable one and compare them",
    ),
    "serve": ("clothseg.serving.serve_command:Serve", "answer over HTTP, with a page to try it"),
    "site": ("clothseg.serving.site_command:Site", "write the page as a folder that needs no server"),
}
"""Command name → (where its class is, what it does). A command is a frozen dataclass with `run() -> exit code`."""

EXAMPLES = {
    "prepare": ("--sample", "--source /data/mirror", "--annotations coco.json --photos photos --classes classes.yaml"),
    "verify": ("", "--data-path data"),
    "pack": ("--output shards", "--shard-size 64"),
    "preview": ("", "--count 12 --output pictures"),
    "train": ("", "--encoder-name resnet34 --batch-size 8", "--ckpt checkpoints/last.ckpt"),
    "predict": ("photo.jpg", "photos --output results --json", "photo.jpg --cutouts tight --ckpt model.onnx"),
    "evaluate": ("model.onnx", "--predictions masks --class-map map.yaml"),
    "compare": ("a.onnx b.onnx", "a/evaluation.json b/evaluation.json --output comparison"),
    "export": ("checkpoints/last.ckpt --output model.onnx", "checkpoints/last.ckpt --photos photos --json"),
    "import": (
        "hf://mattmdjaga/segformer_b2_clothes --photos photos",
        "folder --output model.onnx --photos photos",
        "u2net_cloth_seg.onnx --description u2net_cloth_seg --photos photos",
    ),
    "serve": ("", "--model model.onnx --port 8080", "--host 0.0.0.0 --workers 2 --api-key KEY"),
    "site": ("public", "public --model model.onnx"),
}
"""Command name → arguments of the examples that its help shows."""

SHELLS = {
    "bash": "source <(clothseg completion bash)",
    "zsh": 'clothseg completion zsh > "${fpath[1]}/_clothseg"',
    "fish": "clothseg completion fish | source",
}
"""Shell → the command that completes commands and options in it."""


class Command(Protocol):
    """A class in the table."""

    def run(self) -> int:
        """Do the work and return the exit code: 0 all done, 1 some of it failed and was named."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `clothseg NAME …` as installed by pip and exit with its exit code."""
    _print_any_name()
    given = list(sys.argv[1:] if arguments is None else arguments)
    match given:
        case ["--version", *_]:
            print(f"clothseg {__version__}")
            sys.exit(0)
        case ["help" | "--help" | "-h"] | ["help", "help" | "completion", *_]:
            print(_overview())
            sys.exit(0)
        case ["completion", *words]:
            _print_completion(words)
        case ["help", name, *_]:
            given = [name, "--help"]
        case []:
            print(_overview(), file=sys.stderr)
            sys.exit(2)
    name = given[0]
    if name not in COMMANDS:
        similar = nearest(name, COMMANDS, count=1)
        _fail(f"Unknown command: {name}. Did you mean {similar}? All commands: clothseg help", 2)
    start(name, Settings(), arguments=given[1:], program=f"clothseg {name}")


def _overview() -> str:
    rows = [f"  {name:<10}{summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: clothseg COMMAND …",
            "",
            *rows,
            "",
            "  help COMMAND      list the options of a command, with examples",
            "  --version         print the version",
            "  completion SHELL  print a script that completes commands, options and files:",
            *(f"                    {line}" for line in SHELLS.values()),
        ]
    )


def _print_completion(arguments: Sequence[str]) -> NoReturn:
    """Print the completion script of a shell, or exit with a usage error."""
    if len(arguments) != 1 or arguments[0] not in SHELLS:
        given = f"Unknown shell: {' '.join(arguments)}" if arguments else "No shell given"
        _fail(f"{given}. Allowed: {', '.join(SHELLS)}, as in: clothseg completion bash", 2)
    commands: Any = {name: _load(name) for name in COMMANDS}
    words = ["--tyro-print-completion", arguments[0]]
    script = io.StringIO()
    with contextlib.redirect_stdout(script), contextlib.suppress(SystemExit):
        tyro.extras.subcommand_cli_from_dict(
            commands, prog="clothseg", args=words, config=(tyro.conf.OmitArgPrefixes,), registry=_registry()
        )
    text = script.getvalue()
    for old, new in (  # tyro would offer files for its path options only, and in fish not see the word that is begun
        (" in completions:", " in completions or ['__TYRO_COMPLETE_FILES__']:"),
        ('compgen -f -- "$cur"', 'compgen -f -- "${COMP_WORDS[COMP_CWORD]}"'),
        ("current (count $words)", 'current (count $words)\n    set -a words "$(commandline -ct)"'),
    ):
        text = text.replace(old, new)
    print(text, end="")
    sys.exit(0)


def start(
    name: str,
    settings: Settings | ModuleType,
    *,
    run: Callable[[Any], int] | None = None,
    arguments: Sequence[str] | None = None,
    program: str | None = None,
) -> NoReturn:
    """Parse the command line of a command, run it, and exit with its exit code.

    Args:
        name: a name of `COMMANDS`.
        settings: the defaults of its flags: `Settings`, or a module such as `config.py`.
        run: called with the parsed command in place of its own `run`.
        arguments: the words after the program's name; those of this process if None.
        program: how the usage line calls the program; the running file's name if None.
    """
    _open_closed_streams()
    _print_any_name()
    with _leaving():
        if isinstance(settings, ModuleType):
            settings = Settings.from_module(settings)
        command = _parse(name, settings, arguments, program)
        code = command.run() if run is None else run(command)
        sys.stdout.flush()
        if "torch" not in sys.modules:  # with torch, nanobind would report its frozen objects as leaks, in 60 lines
            gc.freeze()  # Python looks for garbage three times as it ends, which takes 4% of a photo's time
    sys.exit(code)


def _load(name: str) -> type[Command]:
    if name == "predict":
        _import_numpy()
    module, _, class_name = COMMANDS[name][0].partition(":")
    gc.disable()  # imports make many objects and no garbage
    try:
        loaded: type[Command] = getattr(importlib.import_module(module), class_name)
    finally:
        gc.enable()
    return loaded


def _import_numpy() -> None:
    """Import numpy without the threads of its OpenBLAS: prediction has no work for them, and they wait in a busy loop.

    The variable is read when the library is loaded; other libraries and processes get the environment as it was.
    """
    variable = "OPENBLAS_NUM_THREADS"
    if variable not in os.environ:
        os.environ[variable] = "1"
        importlib.import_module("numpy")
        del os.environ[variable]


def _parse(name: str, settings: Settings, arguments: Sequence[str] | None, program: str | None) -> Command:
    command: Any = _load(name)
    defaults: dict[str, Any] = {}
    required = []
    for field in fields(command):
        if field.name == "settings":
            defaults[field.name] = settings
        elif field.default is MISSING and field.default_factory is MISSING:
            required.append(field.name)
        elif hasattr(settings, field.name):
            defaults[field.name] = getattr(settings, field.name)
    if hasattr(command, "of_plain"):
        plain: Command | None = command.of_plain(sys.argv[1:] if arguments is None else arguments, defaults)
        if plain is not None:
            return plain
    defaults |= dict.fromkeys(required, tyro.MISSING)
    try:
        parsed: Command = tyro.cli(
            command,
            default=command(**defaults),
            args=arguments,
            prog=program or Path(sys.argv[0]).name,
            description=_described(name, command),
            config=(tyro.conf.OmitArgPrefixes,),  # groups of options have a title and no prefix
            registry=_registry(),
        )
    except _RefusedError as refused:
        raise refused.__cause__ or refused from None
    return parsed


class _RefusedError(Exception):
    """Takes an error of our own, its cause, past tyro, which prints each ValueError in a form of its own."""


def _refusing(build: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(build)  # its docstring is shown above the group
    def built(*args: Any, **kwargs: Any) -> Any:
        try:
            return build(*args, **kwargs)
        except ClothsegError as error:
            raise _RefusedError from error

    return built


def _described(name: str, command: type[Command]) -> str:
    """Return the description of a command and its examples, as this installation runs them."""
    examples = [command_line(name, *line.split()) for line in EXAMPLES.get(name, ())]
    text = re.split(r"\n\n(?:Args|Raises):", inspect.getdoc(command) or "")[0]
    return "\n".join([text, "", "examples:", *(f"  {line}" for line in examples)])


def _registry() -> Any:
    """Return tyro's rules with more: help without None, settings in groups, no empty paths, errors in one line."""
    constructors = tyro.constructors
    registry = constructors.ConstructorRegistry()
    inside: list[bool] = []

    def plain(info: Any) -> Any:
        kinds = get_args(info.type) or (info.type,)
        if inside or {type(None), Path}.isdisjoint(kinds):
            return None
        inside.append(True)
        spec = constructors.ConstructorRegistry.get_primitive_spec(info)
        inside.clear()
        if not isinstance(spec, constructors.PrimitiveConstructorSpec):
            return None
        metavar = spec.metavar.removeprefix("{None}|").replace("{None,", "{")
        choices = tuple(sorted(set(spec.choices or ()) - {"None"})) or None

        def read(words: list[str]) -> Any:
            if Path in kinds and "" in words:
                raise _RefusedError from SettingError("A path is empty (''). Pass one; . is the current folder")
            return spec.instance_from_str(words)

        return replace(spec, metavar=metavar, choices=choices, instance_from_str=read)

    def checked(info: Any) -> Any:
        if inside or not is_dataclass(info.type):
            return None
        inside.append(True)
        spec = constructors.ConstructorRegistry.get_struct_spec(info)
        inside.clear()
        shown = tuple(map(described, spec.fields))
        return replace(spec, instantiate=_refusing(spec.instantiate), fields=shown)

    def described(field: Any) -> Any:
        """Return a field with its help in one paragraph, and without a default that says nothing."""
        text = field.helptext() if callable(field.helptext) else field.helptext
        says_nothing = field.default in (None, "", (), tyro.MISSING)
        hint: Any = Annotated[field.type, tyro.conf.arg(help_behavior_hint="")] if says_nothing else field.type
        return replace(field, helptext=text and " ".join(text.split()), type=hint)

    def groups(info: Any) -> Any:
        if info.type is not Settings:
            return None
        parts = []
        for group in reversed(Settings.__bases__):
            values = {field.name: getattr(info.default, field.name) for field in fields(group)}
            name = group.__name__.removesuffix("Settings").lower()
            parts.append(constructors.StructFieldSpec(name=name, type=group, default=group(**values)))

        def joined(**groups: Any) -> Settings:
            return Settings(**{name: value for group in groups.values() for name, value in vars(group).items()})

        return constructors.StructConstructorSpec(joined, tuple(parts))

    registry.primitive_rule(plain)
    registry.struct_rule(checked)
    registry.struct_rule(groups)
    return registry


@contextlib.contextmanager
def _leaving() -> Any:
    """Turn an error that ends a command into one line on stderr and its exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    warnings.filterwarnings("ignore", module="PIL")  # a photo that is too large is refused by name instead
    try:
        yield
    except ClothsegError as error:
        _fail(one_line(error), error.exit_code)
    except KeyboardInterrupt:
        advice = "Run the same command again; predict skips the photos that are done with --resume"
        _fail(f"Interrupted. No file is incomplete. {advice}", 128 + signal.SIGINT)
    except BrokenPipeError:
        # The reader of the output has ended, as `head` does; Python would report it again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except MemoryError:
        _fail("Out of memory. Close other programs, or use smaller photos or batches", MachineError.exit_code)
    except OSError as error:
        path, reason = error.filename or "a file", path_problem(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            _fail(f"Cannot write {path}: {reason}. Free some space", MachineError.exit_code)
        _fail(f"Cannot use {path}: {reason}. Check the path and its permissions", MachineError.exit_code)
    except RuntimeError as error:
        if not str(error).startswith("Symlink loop"):  # what Path.resolve raises before Python 3.13
            raise
        _fail(f"Cannot use a path: {one_line(error)}. Correct the link, or pass another path", MachineError.exit_code)


def _open_closed_streams() -> None:
    """Connect standard streams that a service manager left closed to nothing, so that no file gets their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - open as long as the process is


def _print_any_name() -> None:
    """Print characters that the terminal's or the pipe's encoding lacks as escapes, in place of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signum)  # unlike the default, lets worker processes end and temporary files be removed


def _fail(message: str, code: int) -> NoReturn:
    print(f"clothseg: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
