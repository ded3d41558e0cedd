"""The command itself: streams that are closed or full, Ctrl-C at any moment, and files that are none."""

from __future__ import annotations

import subprocess
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

import pytest
from processes import VIDPIPE, environment, vidpipe
from terminals import terminal
from typer.testing import CliRunner

from engines.errors import VidpipeError
from pipeline.cli import main as command
from pipeline.cli.commands import app

STREAMS = """
import os, sys
for number in {closed}:
    os.close(number)
sys.stdin, sys.stdout, sys.stderr = [None if number in {closed} else one for number, one in
                                     enumerate((sys.stdin, sys.stdout, sys.stderr))]
from pipeline.cli.main import open_standard_streams
open_standard_streams()
opened = os.open(os.devnull, os.O_RDONLY)
assert opened > 2, opened
assert all(os.get_inheritable(number) for number in range(3))
print("to stdout")
assert sys.stdin.read() == ""
print("to stderr", file=sys.stderr)
"""


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_no_file_takes_the_place_of_a_stream_that_is_closed(closed):
    done = subprocess.run(
        [sys.executable, "-c", STREAMS.format(closed=closed)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    told = ("" if 1 in closed else "to stdout\n", "" if 2 in closed else "to stderr\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, *told)


class Interrupted(MetaPathFinder):
    """Ctrl-C while the commands are imported."""

    def find_spec(self, name, path, target=None):
        if name == "pipeline.cli.commands":
            raise KeyboardInterrupt


@pytest.fixture
def limits_kept(monkeypatch):
    monkeypatch.setattr("resource.setrlimit", lambda *_: None)


def test_ctrl_c_while_it_is_being_loaded_is_no_fault(limits_kept, monkeypatch):
    monkeypatch.delitem(sys.modules, "pipeline.cli.commands")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 130


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (OSError(28, "No space left on device"), "the output could not be written: No space left on device"),
        (OSError(28, "No space left on device", "plot.png"), "plot.png could not be written: No space left on device"),
        (
            OSError(24, "Too many open files"),
            "the system has no room (Too many open files): raise ulimit -n, free memory or name fewer cameras",
        ),
    ],
)
def test_a_full_disk_or_system_is_told_in_one_sentence(limits_kept, monkeypatch, capsys, fault, text):
    def fail() -> None:
        raise fault

    monkeypatch.setattr("pipeline.cli.commands.app", fail)
    monkeypatch.setattr("os.dup2", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert (ended.value.code, capsys.readouterr().err) == (1, f"vidpipe: {text}\n")


def test_what_nobody_foresaw_is_not_hidden(limits_kept, monkeypatch):
    def fail() -> None:
        raise FileNotFoundError(2, "No such file or directory", "x")

    monkeypatch.setattr("pipeline.cli.commands.app", fail)
    with pytest.raises(FileNotFoundError):
        command.main()


def test_output_that_is_full_ends_in_one_sentence(tmp_path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [VIDPIPE, "--version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path
        )
    assert (done.returncode, done.stderr) == (
        1,
        "vidpipe: the output could not be written: No space left on device\n",
    )


@pytest.mark.parametrize("settings", [{"TERM": "dumb"}, {"COLUMNS": "40"}, {"PYTHONIOENCODING": "ascii"}])
def test_help_is_for_every_terminal(tmp_path, settings):
    done = vidpipe("run", "--help", folder=tmp_path, **{"LC_ALL": "C", "NO_COLOR": "1", **settings})
    assert (done.returncode, done.stderr) == (0, "")
    assert "Example" in done.stdout
    assert "\x1b" not in done.stdout
    if "PYTHONIOENCODING" in settings:
        assert done.stdout.isascii()


@pytest.mark.parametrize("command_line", [each.name or each.callback.__name__ for each in app.registered_commands])
def test_every_command_shows_an_example(command_line):
    (found,) = [each for each in app.registered_commands if each.callback.__name__ == command_line]
    assert f"Example: vidpipe {command_line}" in (found.callback.__doc__ or "")


def test_a_fault_of_the_user_is_told_on_a_terminal_too(tmp_path):
    """The log goes through the table while there is one, and must not end with it."""
    (tmp_path / "vidpipe.yaml").write_text(
        "cameras: {a: {source: 'scene://'}}\npublish: {bind: 'tcp://127.0.0.1:*'}\nmetrics: {bind: 'off'}\n"
    )
    with terminal() as shown:
        run = subprocess.Popen(
            [VIDPIPE, "run", "--backend", "none"],
            stdin=subprocess.DEVNULL,
            stdout=shown.fd,
            stderr=shown.fd,
            cwd=tmp_path,
            env=environment(tmp_path, TERM="xterm"),
        )
        seen = shown.read_on()
        assert run.wait(20) == 1
    assert "vidpipe: there is no back end 'none'" in seen
    assert "Traceback" not in seen


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["init", "-"], "- is no file name here"),
        (["init", "FOLDER"], "is a folder: name a file"),
        (["fakecam", "--tls-cert", "FILE", "--tls-key", "FILE"], "PEM"),
        (["fakecam", "--host", "192.0.2.1", "--port", "0"], "choose another port or address"),
    ],
)
def test_what_a_user_may_try_is_answered_in_one_sentence(tmp_path, arguments, words):
    (tmp_path / "file").write_text("no certificate")
    places = {"FOLDER": str(tmp_path), "FILE": str(tmp_path / "file")}
    found = CliRunner().invoke(app, [places.get(each, each) for each in arguments]).exception
    assert isinstance(found, VidpipeError)
    assert words in str(found)
    assert "\n" not in str(found)


def test_a_configuration_is_called_valid_once_its_models_are_there(tmp_path):
    (tmp_path / "vidpipe.yaml").write_text("cameras: {a: {source: 'scene://', model: nope}}\n")
    done = vidpipe("check", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("vidpipe: there is no model 'nope'")
