"""The errors that clothseg raises, each kind with its exit code.

Every message says what happened, the value, and what to do next. The command line prints it as one line on stderr and
exits with `exit_code`; Python code catches `ClothsegError` or the builtin each class also is.
"""

import difflib
import errno
import importlib
import os
import shlex
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

_RECIPE = {"prepare": "data_prep.py", "preview": "loader.py", "train": "train.py", "predict": "infer.py"}
"""Commands that are also a file in the root of a clone."""


class ClothsegError(Exception):
    """Anything clothseg refuses or cannot do."""

    exit_code = 1


class SettingError(ClothsegError, ValueError):
    """A setting, a flag or an argument has an unknown name or a value that is not allowed."""

    exit_code = 2


class InputError(ClothsegError, ValueError):
    """Photos, annotations, masks or archives that cannot be used."""

    exit_code = 3


class PictureError(InputError):
    """One photo that cannot be read."""


class LargePictureError(PictureError):
    """One photo with more pixels than are read."""


class DataError(InputError):
    """A dataset, an annotation file, a mask or an archive that cannot be used."""


class MissingInputError(InputError, FileNotFoundError):
    """A photo, folder or data file that is not there."""


class ModelError(ClothsegError, ValueError):
    """A model file that is broken, foreign, or does not fit."""

    exit_code = 4


class MissingModelError(ModelError, FileNotFoundError):
    """A model file that is not there."""


class MachineError(ClothsegError, OSError):
    """The disk, the network, the memory or an installation is the cause."""

    exit_code = 5


class MissingExtraError(ClothsegError, ImportError):
    """A part of clothseg whose packages are not installed."""

    exit_code = 5


def command(name: str, *arguments: object) -> str:
    """Return a command line as this installation runs it: `uv run …` in a clone, else `clothseg …`.

    Args:
        name: one of `cli.COMMANDS`.
        arguments: the words that follow it, quoted where a shell needs it.

    >>> command("train", "--epochs", 3)  # with pip: 'clothseg train --epochs 3'
    'uv run train.py --epochs 3'
    """
    program = f"clothseg {name}"
    if _is_clone():
        program = f"uv run {_RECIPE.get(name, program)}"
    return " ".join([program, *(shlex.quote(str(word)) for word in arguments)])


def install(extra: str) -> str:
    """Return the command line that adds an extra to this installation, such as `pip install "clothseg[serve]"`."""
    return f"uv sync --extra {extra}" if _is_clone() else f'pip install "clothseg[{extra}]"'


def _is_clone() -> bool:
    return (Path(__file__).parents[2] / _RECIPE["train"]).is_file()


def one_line(error: BaseException) -> str:
    """Return the message of `error` on a single line, or its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def pack_error(error: ClothsegError) -> tuple[str, str]:
    """Return an error as plain values, for another process."""
    return type(error).__name__, str(error)


def unpack_error(values: Iterable[str]) -> ClothsegError:
    """Return the error that `pack_error` took apart."""
    kind, message = values
    error: ClothsegError = globals()[kind](message)
    return error


def path_kind(path: str | os.PathLike[str]) -> str:
    """Return what a path is: "a file", "a folder", "a pipe, socket or device", or nothing: "".

    Reading anything else than a regular file may block forever.

    Raises:
        OSError: the system refuses the path; `path_problem` says why.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - Path.exists hides some errors and raises others
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except ValueError as error:
        raise OSError(errno.EINVAL, "it contains a zero byte", str(path)) from error
    if stat.S_ISREG(mode):
        return "a file"
    return "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"


def walk(folder: Path, onerror: Callable[[OSError], None]) -> Iterator[tuple[Path, list[str]]]:
    """Yield `folder` and each folder below it with the names of its files, sorted.

    Linked folders are followed, each real folder is visited once, and a link to a folder that contains it, which makes
    a circle, is not followed. Hidden folders are skipped. `onerror` is called for each folder that cannot be read.
    """
    starts, seen = [folder], set()
    for start in starts:  # real folders first, so that a file gets its own path where it has one
        if start.resolve() in seen or (start != folder and start.parent.resolve().is_relative_to(start.resolve())):
            continue
        for where, folders, names in os.walk(start, onerror=onerror):
            seen.add(Path(where).resolve())
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            starts += [Path(where, name) for name in folders if Path(where, name).is_symlink()]
            yield Path(where), sorted(names)


def path_problem(error: OSError) -> str:
    """Return in a few words why the system refuses a path.

    >>> path_problem(OSError(errno.EACCES, "Permission denied"))
    'permission denied'
    """
    known = {
        errno.ENAMETOOLONG: "the name is too long",
        errno.ELOOP: "its links lead in a circle",
        errno.EPERM: "permission denied",
        errno.ENOSPC: "the disk is full",
        errno.EEXIST: "it is a file",  # where a folder is to be made
    }
    reason = known.get(error.errno or 0) or error.strerror or one_line(error)
    return reason[:1].lower() + reason[1:]


@contextmanager
def disk_errors(what: str, hint: str) -> Iterator[None]:
    """Raise what the system refuses within the block as a MachineError; errors of our own stay what they are.

    Args:
        what: what was being done, first in the message: "Cannot write a.zip".
        hint: what to do, last in the message.

    Raises:
        MachineError: the disk is full, broken or cannot be read or written.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, ClothsegError):
            raise
        raise MachineError(f"{what}: {path_problem(error)}. {hint}") from error


def make_folder(folder: Path, hint: str = "Pass another --output") -> None:
    """Make a folder to write into, before any time is spent; `hint` ends the error.

    Raises:
        MachineError: it is a file, or cannot be made or written.
    """
    with disk_errors(f"Cannot write to {folder}", hint):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def check_space(folder: Path, needed: int, *, what: str) -> None:
    """Refuse to write `needed` bytes into a folder whose disk does not have them free.

    Raises:
        MachineError: there is too little space for `what`.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise MachineError(
            f"No space for {what}: {needed:,} bytes needed, {free:,} free. "
            "Free some space, or choose a folder on another disk"
        )


def check_input(
    path: str | os.PathLike[str], what: str, hint: str, *, folder: bool = False, error: type[ClothsegError] = DataError
) -> None:
    """Refuse a path of the user's that is no file to read, or, where a folder is wanted, no folder to list.

    Args:
        path: as it was given.
        what: what it is meant to be, first in every error: "Annotation file".
        hint: what to do where there is no such thing, last in the error.
        folder: a folder is wanted.
        error: what is raised where something else is there; ModelError makes MissingModelError of what is missing.

    Raises:
        MissingInputError, MissingModelError: there is nothing.
        ClothsegError: `error`, as there is something else, or the system refuses the path.
    """
    try:
        kind = path_kind(path)
        if kind and not os.access(path, os.R_OK | (os.X_OK if kind == "a folder" else 0)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as refused:
        reason = f"{str(path)[:300]} ({path_problem(refused)})"
        raise error(f"{what} cannot be opened: {reason}. Check the path and its permissions") from refused
    if not kind:
        missing = MissingModelError if issubclass(error, ModelError) else MissingInputError
        raise missing(f"{what} not found: {path}. {hint}")
    wanted = "a folder" if folder else "a file"
    if kind != wanted:
        raise error(f"{what} is {kind}, not {wanted}: {path}. {hint}")


def read_input(path: Path, what: str, hint: str, *, error: type[ClothsegError] = DataError) -> bytes:
    """Return the bytes of a file of the user's; arguments and errors are those of `check_input`."""
    check_input(path, what, hint, error=error)
    try:
        return path.read_bytes()
    except OSError as refused:
        raise error(f"{what} cannot be read: {path} ({path_problem(refused)}). {hint}") from refused


def nearest(name: str, allowed: Iterable[str], count: int = 5) -> str:
    """Return the names most like `name`, for the end of an error message.

    >>> nearest("resnet43", ["resnet18", "resnet34", "mit_b1"], count=2)
    'resnet34, resnet18'
    """
    allowed = list(allowed)
    return ", ".join(difflib.get_close_matches(name, allowed, n=count, cutoff=0.4) or allowed[:count])


def require(module: str, extra: str) -> ModuleType:
    """Import `module`; where it is not installed, name the extra that has it.

    Raises:
        MissingExtraError: `module` is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(f"{module} is not installed. Install it with: {install(extra)}") from error
