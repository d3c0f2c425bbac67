"""The command `clothseg serve`: segmentation over HTTP, with a page."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from clothseg.errors import SettingError, require
from clothseg.serving.limits import Keys, Limits
from clothseg.settings import ModelOptions


@dataclass(frozen=True)
class Serve:
    """Serve segmentation over HTTP, with a page to try it; after Ctrl+C, accepted requests are still answered."""

    checkpoint_path: Annotated[
        str | Path | None, tyro.conf.arg(name="model", aliases=("--ckpt",), metavar="MODEL")  # as predict has it
    ] = None
    """Model file, or its address (hf://OWNER/NAME/FILE.onnx or https://…); without one, the newest best checkpoint of
    your own training, or else the packaged starter model."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 accepts other machines, for use behind a proxy: see docs/how-to/deploy.md."""
    port: int = 8000
    """Port to listen on; 0 takes any that is free."""
    workers: int = 1
    """Processes that segment; they share the cores."""
    limits: Limits = field(default_factory=Limits)
    api_key: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = field(default=(), repr=False)
    """API key that requests must have; repeat it for more. Without any, all requests are accepted. Other users of the
    machine can read it from the command line, but not from the environment variable CLOTHSEG_API_KEYS."""
    cors_origin: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Origin of another site whose pages may use the API, such as https://example.org; repeat it for more."""
    model_options: Annotated[ModelOptions, tyro.conf.arg(name="runtime")] = field(default_factory=ModelOptions)
    checkpoints_path: Path = Path("checkpoints")
    """Folder to search for the newest best checkpoint."""

    def run(self) -> int:
        """Serve until a signal comes; print the address to stdout when the model is ready, all else to stderr.

        Returns:
            0; after a signal, the exit code is 128 plus its number.

        Raises:
            MissingExtraError: the extra `serve` is not installed.
            SettingError: a limit, a key or the address is not allowed.
            ModelError: the model is missing or damaged.
            MachineError: the port is taken.
        """
        for module in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
            require(module, "serve")
        from clothseg.serving.server import address_of, listen, run

        if self.workers < 1:
            raise SettingError(f"--workers is {self.workers}. Allowed: whole numbers from 1 up")
        load_options = {
            "model": None if self.checkpoint_path is None else str(self.checkpoint_path),
            **vars(self.model_options),
            "checkpoints_path": str(self.checkpoints_path),
        }
        keys = Keys.collect(self.api_key, os.environ)
        listener = listen(self.host, self.port)
        address = address_of(listener)  # a signal while the model loads closes the socket

        def ready(origin: str, runtime: str) -> None:
            print(f"Model: {origin} ({runtime}). Ready", file=sys.stderr)
            print(address, flush=True)

        run(
            listener,
            load_options,
            workers=self.workers,
            limits=self.limits,
            keys=keys,
            cors_origins=self.cors_origin,
            on_ready=ready,
        )
        return 0
