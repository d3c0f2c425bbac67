import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

# The same examples in every run: a failure is the change's, and repeats.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def signals_as_before():
    """Put signal handlers back after each test: loaders and commands leave theirs behind."""
    names = ("SIGCHLD", "SIGTERM", "SIGINT", "SIGUSR1")
    before = {number: signal.getsignal(number) for name in names if (number := getattr(signal, name, None))}
    yield
    for number, handler in before.items():
        if handler is not None:
            signal.signal(number, handler)


@pytest.fixture
def run_in(tmp_path):
    """Run a program as a user would, in `tmp_path`, without the model hubs; nothing it started outlives it."""

    def run(*command: str, timeout: float = 600, **environment: str) -> subprocess.CompletedProcess[str]:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=tmp_path,
            env=os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "PYTHONWARNINGS": "default"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            output, messages = process.communicate(timeout=timeout)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return subprocess.CompletedProcess(command, process.returncode, output, messages)

    return run
