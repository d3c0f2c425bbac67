import errno
import io
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import tyro

from clothseg import __version__, cli
from clothseg.errors import DataError, MachineError, ModelError, SettingError, command, install
from clothseg.settings import Settings


@dataclass(frozen=True)
class Count:
    """Count photos."""

    photos: tyro.conf.Positional[tuple[str, ...]]
    """Photos to count."""
    data_path: Path = Path("elsewhere")
    """Where to look."""

    def run(self) -> int:
        print(len(self.photos), self.data_path)
        return 0


@pytest.fixture(autouse=True)
def table(monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "count", (f"{__name__}:Count", "count photos"))
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Count.__module__])


def leave(*arguments, settings=None, run=None):
    with pytest.raises(SystemExit) as caught:
        cli.start("count", settings or Settings(), arguments=arguments, run=run, program="count")
    return caught.value.code


def failing_with(error):
    def run(command):
        raise error

    return run


def test_a_setting_is_the_default_of_the_flag_of_its_name(capsys):
    assert leave("a.jpg", "b.jpg") == 0
    assert capsys.readouterr().out == "2 data\n"
    assert leave("a.jpg", "--data-path", "there") == 0
    assert capsys.readouterr().out == "1 there\n"


def test_a_config_module_gives_the_defaults(capsys):
    config = ModuleType("config")
    config.DATA_PATH = "mine"
    assert leave("a.jpg", settings=config) == 0
    assert capsys.readouterr().out == "1 mine\n"
    config.BATCH_SIZE = 0
    assert leave("a.jpg", settings=config) == 2
    assert capsys.readouterr().err == "clothseg: BATCH_SIZE is 0. Allowed: a whole number from 1 up\n"


def test_a_refused_value_of_any_group_is_one_line(capsys):
    for arguments, message in (
        (("train", "--epochs", "0"), "clothseg: EPOCHS is 0. Allowed: a whole number from 1 up\n"),
        (("predict", "a.jpg", "--tiles", "0"), "clothseg: tiles is 0. Allowed: a whole number from 1 to 8\n"),
    ):
        assert run_main(*arguments) == 2
        assert capsys.readouterr().err == message


def test_an_empty_path_of_any_command_is_refused(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for line in (
        *("predict a.jpg --output ''", "predict a.jpg --json --ckpt ''", "predict a.jpg --resume --output=", "site ''"),
        *("preview --output ''", "pack --output ''", "compare a b --output ''", "evaluate --output ''"),
        *("export --output ''", "import a --output ''", "train --data-path ''", "prepare --data-path ''"),
        *("import ''", "prepare --source ''"),
    ):
        assert run_main(*shlex.split(line)) == 2, line
        assert capsys.readouterr().err == "clothseg: A path is empty (''). Pass one; . is the current folder\n"
    assert not list(tmp_path.iterdir())


def test_the_model_has_both_flags(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("a.jpg").touch()
    for line in ("predict a.jpg", "serve --port 0", "site public"):
        for flag in ("--ckpt", "--model"):
            assert run_main(*line.split(), flag, "no.onnx") == 4
            assert "Model not found: no.onnx" in capsys.readouterr().err


def test_an_unknown_flag_is_a_usage_error(capsys):
    assert leave("a.jpg", "--output-dir", "x") == 2
    assert "--output-dir" in capsys.readouterr().err


def test_an_error_is_one_line_and_its_exit_code(capsys):
    for error, code, shown in (
        (SettingError("a\nb"), 2, "a b\n"),
        (DataError("a b"), 3, "a b\n"),
        (ModelError("a b"), 4, "a b\n"),
        (MachineError("a b"), 5, "a b\n"),
        (OSError(errno.ENOSPC, "No space left on device", "x.png"), 5, "Cannot write x.png: the disk is full"),
        (
            PermissionError(errno.EACCES, "Permission denied", "secret"),
            5,
            "Cannot use secret: permission denied. C",
        ),
        (KeyboardInterrupt(), 130, "Interrupted. No file is incomplete. Run the same command again; predict"),
    ):
        assert leave("a.jpg", run=failing_with(error)) == code
        printed = capsys.readouterr().err
        assert printed.startswith(f"clothseg: {shown}")
        assert printed.count("\n") == 1


def test_links_that_lead_in_a_circle_are_a_named_error(capsys, tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "photo.jpg").write_bytes(b"")
    for arguments in (
        ["predict", str(tmp_path / "photo.jpg"), "--output", str(tmp_path / "a")],
        ["prepare", "--masks", str(tmp_path / "a"), "--photos", str(tmp_path / "b"), "--data-path", str(tmp_path)],
        ["preview", "--output", str(tmp_path / "a"), "--data-path", str(tmp_path)],
    ):
        assert run_main(*arguments) in (3, 5)
        assert capsys.readouterr().err.startswith("clothseg: "), arguments
    with pytest.raises(RuntimeError, match="a bug"):
        cli.start("count", Settings(), arguments=["a.jpg"], run=failing_with(RuntimeError("a bug")))


def test_names_outside_the_encoding_of_the_output_are_printed_as_escapes(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp1252"))
    assert leave("a.jpg", run=lambda command: print("Żółć 衣服 \udcff.png") or 0) == 0
    sys.stdout.flush()
    shown = written.getvalue().decode("cp1252").strip()
    assert shown == r"\u017bó\u0142\u0107 \u8863\u670d \udcff.png"


def test_a_command_runs_where_the_standard_streams_are_closed(monkeypatch):
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)

    def use_streams(command):
        print(sys.stdin.buffer.read())
        print(sys.stderr.isatty(), file=sys.stderr)
        return 0

    assert leave("a.jpg", run=use_streams) == 0
    assert leave("a.jpg", run=failing_with(DataError("a"))) == 3
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()


def test_messages_name_the_commands_of_the_installation_at_hand(monkeypatch):
    for is_clone, train, verify, extra in (
        (True, "uv run train.py --ckpt 'a b.ckpt'", "uv run clothseg verify", "uv sync --extra serve"),
        (False, "clothseg train --ckpt 'a b.ckpt'", "clothseg verify", 'pip install "clothseg[serve]"'),
    ):
        monkeypatch.setattr("clothseg.errors._is_clone", lambda is_clone=is_clone: is_clone)
        assert (command("train", "--ckpt", Path("a b.ckpt")), command("verify")) == (train, verify)
        assert install("serve") == extra


def test_a_bug_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        cli.start("count", Settings(), arguments=["a.jpg"], run=failing_with(ZeroDivisionError()))


def run_main(*arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    return caught.value.code


def test_the_overview_names_every_command(capsys):
    for word in ("--help", "-h", "help", "help help", "help completion"):
        assert run_main(*word.split()) == 0
        shown = capsys.readouterr().out
        assert all(name in shown for name in (*cli.COMMANDS, *cli.SHELLS))


def test_no_command_and_unknown_commands_are_usage_errors(capsys):
    for arguments, message in (
        ((), "usage: clothseg COMMAND"),
        (("predct", "a.jpg"), "clothseg: Unknown command: predct. Did you mean predict? All commands: clothseg help\n"),
        (("help", "serv"), "clothseg: Unknown command: serv. Did you mean serve?"),
        (("completion", "tcsh"), "clothseg: Unknown shell: tcsh. Allowed: bash, zsh, fish, as in"),
    ):
        assert run_main(*arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith(message)


def test_each_help_has_examples_that_parse_and_plain_names_of_values(capsys):
    """In `clothseg help COMMAND` and in `COMMAND --help`."""
    parsed = []
    for name in cli.COMMANDS.keys() - {"count"}:
        assert run_main("help", name) == 0
        shown = capsys.readouterr().out
        assert not re.search(r"\{None|default: (None)?\)", shown)
        assert "Args:" not in shown
        examples = re.search(r"\nexamples:\n((?:  uv run .*\n)+)\n", shown)[1].splitlines()
        assert 2 <= len(examples) <= 3, name
        for line in examples:
            words = shlex.split(line.split(name, 1)[-1] if f"clothseg {name}" in line else line.split(".py", 1)[1])
            with pytest.raises(SystemExit) as caught:
                cli.start(name, Settings(), arguments=words, run=lambda command: parsed.append(command) or 0)
            assert caught.value.code == 0, line
    assert len(parsed) >= 2 * len(cli.EXAMPLES)


def test_options_are_grouped_with_a_sentence_on_each_group(capsys):
    assert run_main("predict", "--help") == 0
    shown = capsys.readouterr().out
    groups = re.findall(r"^\W*(positional arguments|(?:\w+ )?options)\W*$", shown, flags=re.MULTILINE)
    assert groups == ["positional arguments", "options", "output options", "augmentation options", "runtime options"]
    assert "What runs the model, and where." in shown
    assert run_main("train", "--help") == 0
    shown = capsys.readouterr().out
    assert re.findall(r"^\W*(\w+) options\W*$", shown, flags=re.MULTILINE) == [
        "data",
        "network",
        "training",
        "machine",
        "file",
    ]
    assert "--accelerator {auto,cpu,gpu,mps}" in shown


def test_a_shell_completes_commands_options_and_choices(capsys, tmp_path):
    script = tmp_path / "clothseg"
    for shell in cli.SHELLS:
        assert run_main("completion", shell) == 0
        script.write_text(capsys.readouterr().out)
        assert "--encoder-name" in script.read_text()
        if shutil.which(shell):
            subprocess.run([shell, "-n", script], check=True)
        ask = {
            "bash": 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tyro_clothseg; echo "${COMPREPLY[@]}"',
            "fish": 'source $argv[1]; complete -C "$argv[2..]" | cut -f 1',
        }.get(shell)
        for words, offered in (
            (("clothseg", "train", "--enc"), {"--encoder-name", "--encoder-weights", "--encoder-rate"}),
            (("clothseg", "predict", "--classes", ""), {"groups", "categories"}),
            (("clothseg", "predict", str(tmp_path / "clo")), {str(script)}),
        ):
            if ask and shutil.which(shell):
                shown = subprocess.check_output([shell, "-c", ask, script, *words], text=True)
                assert set(shown.split()) == offered, shell


def test_a_command_of_the_table_gets_its_words(capsys):
    assert run_main("count", "a.jpg", "b.jpg") == 0
    assert capsys.readouterr().out == "2 data\n"


def test_the_module_runs_as_a_program():
    shown = subprocess.check_output([sys.executable, "-m", "clothseg.cli", "--version"], text=True)
    assert shown == f"clothseg {__version__}\n"


def test_sigterm_exits_with_143():
    code = (
        "import os, signal\nfrom clothseg import cli\nwith cli._leaving():\n    os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 128 + signal.SIGTERM


def test_a_closed_pipe_is_no_traceback():
    code = (
        "from clothseg import cli\nfrom clothseg.settings import Settings\nimport sys\n"
        "def flood(command):\n    while True: print('x' * 10000)\n"
        "cli.start('predict', Settings(), arguments=['a.jpg'], run=flood)\n"
    )
    ended = subprocess.run(
        ["bash", "-c", f'set -o pipefail; "{sys.executable}" -c "$0" | head -1', code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 128 + signal.SIGPIPE
    assert ended.stderr == ""


PLAIN = (
    *("a.jpg", "a b c", "a --json", "--json a", "a b --output o --json", "--ckpt m.onnx a", "--output o a b --ckpt m"),
    *(
        "--json --json a",
        "a --output x --output y",
        "",
        "--json",
        "None",
        "a --output=x",
        "a --resume",
        "a --cutouts tight",
    ),
    *(
        "a --json b",
        "a --output --json",
        "--output --json --output o a",
        "a --ckpt -",
        "-",
        "a --ckpt None",
        "a -- b",
        "a --output",
        "--ckpt m",
        "a --no-json",
    ),
)


def test_a_plain_prediction_is_read_as_tyro_reads_it(monkeypatch, capfd):
    command = cli._load("predict")

    def read(line):
        try:
            return vars(cli._parse("predict", Settings(checkpoint_path=Path("default.ckpt")), line.split(), "program"))
        except SystemExit as ended:
            return ended.code

    quickly = {line: read(line) for line in PLAIN}
    plain = [line for line in PLAIN if command.of_plain(line.split(), {}) is not None]
    monkeypatch.delattr("clothseg.prediction.predict_command.Predict.of_plain")
    assert quickly == {line: read(line) for line in PLAIN}
    assert plain[:7] == list(PLAIN[:7])
    assert "a --resume" not in plain
