"""`vidpipe keys`, and which keys a configuration calls for."""

import json
import stat

import pytest
from key_folder import KeyFolder
from processes import write_config
from typer.testing import CliRunner

from engines.errors import KeysError
from pipeline.cli.commands import app
from pipeline.config.load import load_config
from pipeline.keys.client import ClientKeys
from pipeline.keys.folder import server_keys


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments):
    return CliRunner().invoke(app, ["keys", *map(str, arguments)], catch_exceptions=False)


def test_new_list_and_revoke(home):
    assert "there are no clients in" in command("list").output
    assert command("list", "--json").output == ""
    made = command("new", "room", "--cameras", "camera0, camera1", "--address", "tcp://10.0.0.1:5555")
    assert made.exit_code == 0
    assert "room may receive camera0, camera1: room.vidpipe-key" in made.output
    own = ClientKeys.load("room.vidpipe-key")
    assert (own.name, own.address) == ("room", "tcp://10.0.0.1:5555")
    assert stat.S_IMODE((home / "room.vidpipe-key").stat().st_mode) == 0o600
    command("new", "mic", "--sender", "--out", home / "mic")
    assert "mic: may send samples for all cameras, since" in command("list").output
    assert command("revoke", "mic").exit_code == 0
    rows = [json.loads(line) for line in command("list", "--json").output.splitlines()]
    assert [(row["name"], bool(row["revoked"])) for row in rows] == [("mic", True), ("room", False)]
    secrets = [line.split('"')[1] for line in (home / "mic").read_text().splitlines() if "secret-key" in line]
    shown = made.output + command("list").output + command("list", "--json").output
    assert secrets[0] not in shown
    with pytest.raises(KeysError, match="there is no key nobody"):
        command("revoke", "nobody")


@pytest.mark.parametrize("arguments", [("a b",), ("room", "--cameras", "camera0,no/camera")])
def test_a_key_that_is_refused_leaves_no_folder(home, arguments):
    with pytest.raises(KeysError, match="is no name"):
        command("new", *arguments)
    assert not (home / "settings").exists()


def test_the_address_comes_from_the_configuration(home):
    path, address = write_config(home, {"camera0": "scene://"}, publish={"keys": str(home / "own")})
    command("new", "a", "--config", path)
    assert ClientKeys.load("a.vidpipe-key").address == address
    assert (home / "own" / "clients" / "a.key").exists()
    path, _ = write_config(home, {"camera0": "scene://"}, publish={"bind": "tcp://0.0.0.0:5555"})
    command("new", "b", "--config", path)
    host = ClientKeys.load("b.vidpipe-key").address.removeprefix("tcp://").removesuffix(":5555")
    assert host not in ("0.0.0.0", "")
    told = command("new", "c", "--cameras", "camera0,camera7", "--config", path).output
    assert "not in the configuration so far: camera7; there are camera0" in told


def test_keys_count_where_others_can_reach_the_publisher(home):
    private = load_config(write_config(home, {"camera0": "scene://"})[0])
    public = load_config(write_config(home, {"camera0": "scene://"}, publish={"bind": "tcp://0.0.0.0:5555"})[0])
    named = load_config(write_config(home, {"camera0": "scene://"}, publish={"keys": str(home / "nowhere")})[0])
    assert server_keys(private) is server_keys(public) is None
    with pytest.raises(KeysError, match="vidpipe keys new NAME"):
        server_keys(named)
    (home / "settings" / "vidpipe").mkdir(parents=True)
    KeyFolder(home / "settings" / "vidpipe")
    assert server_keys(private) is None
    assert server_keys(public) is not None
    replayed = load_config(write_config(home, {"camera0": "scene://"}, publish={"replay": "tcp://0.0.0.0:5556"})[0])
    assert server_keys(replayed) is not None
    assert server_keys(public, insecure=True) is None
