"""The state folder: private, held by one process, and given up again whatever went wrong."""

import errno
import fcntl
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from engines.errors import ConfigError
from pipeline.config.schema import Config
from pipeline.durability.folder import state_folder, state_path
from pipeline.durability.temporary import temporary_folder


def config(folder=None, bind: str = "tcp://127.0.0.1:5555") -> Config:
    state = {"folder": str(folder)} if folder is not None else {}
    return Config.model_validate({"cameras": {"a": {"source": "scene://"}}, "publish": {"bind": bind}, "state": state})


def descriptors() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir()}


def test_a_folder_is_private_and_belongs_to_one_until_it_is_left(tmp_path):
    path, before = tmp_path / "deep" / "state", descriptors()
    with state_folder(config(path)) as folder:
        assert folder == path
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE((path / "lock").stat().st_mode) == 0o600
        taken = pytest.raises(ConfigError, match="another vidpipe is running with the state folder")
        with taken, state_folder(config(path)):
            raise AssertionError("two processes write into one folder")
    with state_folder(config(path)):
        pass
    assert descriptors() == before


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_a_sentence(code, tmp_path, monkeypatch, caplog):
    """NFS without its lock service, for one."""

    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    before = descriptors()
    refused = pytest.raises(ConfigError, match=f"cannot be used .{os.strerror(code)}.: set state.folder")
    with refused, state_folder(config(tmp_path / "named")):
        raise AssertionError("it is not locked")
    with state_folder(config()) as folder:
        assert not folder.is_relative_to(tmp_path / "vidpipe")
    assert "this run will not be remembered" in caplog.text
    assert not folder.exists()
    assert descriptors() == before


def test_without_a_name_it_is_the_address_that_names_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_path(config()) == tmp_path / "vidpipe" / "tcp-127.0.0.1-5555"
    assert state_path(config(bind="ipc:///run/vidpipe.sock")) == tmp_path / "vidpipe" / "ipc-run-vidpipe.sock"
    assert state_path(config(bind="tcp://127.0.0.1:*")) is None
    assert state_path(config(tmp_path / "named")) == tmp_path / "named"


def test_what_a_killed_process_left_is_removed_by_the_next_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = "import sys\nfrom pipeline.durability.temporary import temporary_folder\n"
    code += "with temporary_folder() as path: print(path, flush=True); sys.stdin.read()"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        left = Path(process.stdout.readline().strip())
        (left / "checkpoints").mkdir()
        others = [tmp_path / "vidpipe-state-without-a-lock", tmp_path / "vidpipe-state-open-to-others"]
        for other in others:
            other.mkdir(mode=0o700)
        (others[1] / "lock").touch()
        others[1].chmod(0o755)
        link = tmp_path / "vidpipe-state-link"
        link.symlink_to(left)
        with temporary_folder() as own:
            assert own.parent == left.parent == tmp_path
            assert (left / "checkpoints").is_dir(), "its process lives"
            process.kill()
            process.wait()
            with temporary_folder():
                assert not left.exists()
                assert own.exists(), "this process lives, too"
    assert sorted(tmp_path.iterdir()) == sorted([link, *others])
