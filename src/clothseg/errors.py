"""What can go wrong, with the exit code of each kind and what to do next.

Every message says what happened, the value, and the way out. The command line prints it as one line on stderr and
leaves with `exit_code`; Python code catches `ClothsegError` or the builtin each class also is.
"""

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


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
    """A data set, an annotation file, a mask or an archive that cannot be used."""


class MissingInputError(InputError, FileNotFoundError):
    """A photo, folder or data file that is not there."""


class ModelError(ClothsegError, ValueError):
    """A model file that is broken, foreign, or does not fit."""

    exit_code = 4


class MissingModelError(ModelError, FileNotFoundError):
    """A model file that is not there."""


class MachineError(ClothsegError, OSError):
    """The disk, the network, the memory or an installation stands in the way."""

    exit_code = 5


class MissingExtraError(ClothsegError, ImportError):
    """A part of clothseg whose packages are not installed."""

    exit_code = 5


def one_line(error: BaseException) -> str:
    """Return the message of `error` on a single line, or its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def nearest(name: str, allowed: Iterable[str], count: int = 5) -> str:
    """Return the names most like `name`, for the end of an error message.

    >>> nearest("resnet43", ["resnet18", "resnet34", "mit_b1"], count=2)
    'resnet34, resnet18'
    """
    allowed = list(allowed)
    return ", ".join(difflib.get_close_matches(name, allowed, n=count, cutoff=0.4) or allowed[:count])


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or say which extra brings it.

    Raises:
        MissingExtraError: `module` is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f'{module} is not installed. Install it with: pip install "clothseg[{extra}]" (or "uv sync" in a clone)'
        ) from error
