"""Key files: private, strict, and the secret in one place only."""

import os
import stat

import pytest
import zmq.auth
from key_folder import KeyFolder

from engines.errors import KeysError
from pipeline.keys.certificate import Certificate, new_certificate, read_text, write_text
from pipeline.keys.client import ClientKeys
from pipeline.keys.server import ServerKeys
from pipeline.keys.store import KeyStore, Role


@pytest.fixture
def keys(tmp_path):
    return KeyFolder(tmp_path)


def modes(folder):
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}


def test_a_certificate_survives_its_file_and_other_libraries_read_it(tmp_path):
    pair = new_certificate(name="x", server_key="y")
    path = tmp_path / "x"
    path.write_text(write_text(pair, "of a test\nin two lines"))
    assert read_text(path.read_text(), "x") == pair
    assert zmq.auth.load_certificate(path) == (pair.public_key.encode(), pair.secret_key.encode())


def test_everything_is_made_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        keys = KeyFolder(tmp_path)
        carried = keys.new("laptop", "camera0")
        keys.store.revoke("laptop")
    finally:
        os.umask(before)
    assert modes(keys.folder) == {"keys": 0o700, "clients": 0o700, "server.key_secret": 0o600, "laptop.key": 0o600}
    assert stat.S_IMODE(carried.stat().st_mode) == 0o600


def test_the_secret_is_in_the_carried_file_alone(keys):
    carried = keys.new("laptop")
    secret = read_text(carried.read_text(), "it").secret_key
    assert len(secret) == 40
    assert not any(secret in path.read_text() for path in keys.folder.rglob("*") if path.is_file())
    for thing in (read_text(carried.read_text(), "it"), ClientKeys.load(carried), ServerKeys.load(keys.folder)):
        assert secret not in repr(thing) + str(thing)
    assert keys.store.server().secret_key not in repr(keys.store.server()) + repr(ServerKeys.load(keys.folder))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_file_that_others_can_read_is_refused(keys, mode):
    carried = keys.new("laptop")
    carried.chmod(mode)
    with pytest.raises(KeysError, match=f"chmod 600 {carried}"):
        ClientKeys.load(carried)
    (keys.folder / "server.key_secret").chmod(mode)
    with pytest.raises(KeysError, match="chmod 600"):
        ServerKeys.load(keys.folder)


def test_a_folder_that_others_can_enter_is_refused(keys):
    keys.folder.chmod(0o755)
    with pytest.raises(KeysError, match=f"chmod 700 {keys.folder}"):
        ServerKeys.load(keys.folder)
    with pytest.raises(KeysError, match="chmod 700"):
        KeyStore(keys.folder, create=True)


def test_what_is_missing_or_no_key_file_is_one_sentence(keys, tmp_path):
    with pytest.raises(KeysError, match="vidpipe keys new"):
        ServerKeys.load(tmp_path / "nowhere")
    with pytest.raises(KeysError, match="cannot be read"):
        ClientKeys.load(tmp_path / "nowhere")
    with pytest.raises(KeysError, match="no client's key file"):
        ClientKeys.load(keys.folder / "server.key_secret")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    with pytest.raises(KeysError, match="is no file"):
        ClientKeys.load(pipe)
    large = tmp_path / "large"
    large.touch(0o600)
    large.write_bytes(b"#" * 20000)
    with pytest.raises(KeysError, match="larger than"):
        ClientKeys.load(large)
    large.write_bytes(b"\xff\xfe")
    with pytest.raises(KeysError, match="holds no text"):
        ClientKeys.load(large)


def test_names_are_given_once_even_after_they_were_revoked(keys, tmp_path):
    keys.new("laptop", "camera0")
    keys.store.revoke("laptop")
    assert keys.store.revoke("laptop").revoked
    with pytest.raises(KeysError, match="a key laptop already"):
        keys.store.new("laptop", None, Role.SUBSCRIBER, "", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(KeysError, match="there is no key lapto"):
        keys.store.revoke("lapto")
    for name in ("", "../x", "a b", "x" * 65, "a.b"):
        with pytest.raises(KeysError, match="is no name"):
            keys.store.new(name, None, Role.SUBSCRIBER, "", tmp_path / "out")
    with pytest.raises(KeysError, match="is no name"):
        keys.store.new("fine", ["not/fine"], Role.SUBSCRIBER, "", tmp_path / "out")


def test_a_file_that_exists_is_not_overwritten(keys, tmp_path):
    out = tmp_path / "out"
    out.write_text("mine")
    with pytest.raises(KeysError, match="exists already"):
        keys.store.new("laptop", None, Role.SUBSCRIBER, "", out)
    assert out.read_text() == "mine"
    assert keys.store.names() == []


GOOD = write_text(new_certificate(name="a"), "remark")


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD + GOOD,
        GOOD.replace("curve\n", ""),
        GOOD.replace("curve", "curves"),
        GOOD + '    public-key = "x"\n',
        GOOD + '    more = "x"\n',
        GOOD.replace('name = "a"', 'name = "a" b'),
        GOOD.replace('name = "a"', "name = a"),
        write_text(Certificate("0" * 40, new_certificate().secret_key), ""),
        write_text(Certificate("#" * 40), ""),
        write_text(Certificate("short"), ""),
    ],
)
def test_the_parser_is_strict(text):
    with pytest.raises(KeysError, match=r"it is no key file|it is damaged"):
        read_text(text, "it")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('role = "subscriber"', 'role = "admin"'),
        ('role = "subscriber"', 'roles = "subscriber"'),
        ('cameras = "camera0"', 'cameras = "camera0;camera1"'),
        ('cameras = "camera0"', 'cameras = "../x"'),
    ],
)
def test_a_client_whose_entry_is_broken_may_nothing(keys, caplog, old, new):
    keys.new("laptop", "camera0")
    good = keys.store.client("laptop")
    entry = keys.folder / "clients" / "laptop.key"
    server = ServerKeys.load(keys.folder)
    assert server.allowed(good.public_key, "camera0")
    entry.write_text(entry.read_text().replace(old, new))
    with pytest.raises(KeysError, match=r"laptop\.key"):
        keys.store.client("laptop")
    assert server.refresh()
    assert not server.allowed(good.public_key, "camera0")
    assert "a client is not let in" in caplog.text


def test_rights_follow_the_folder(keys):
    keys.new("narrow", "camera0")
    keys.new("wide")
    keys.new("microphone", "camera0", role=Role.SENDER)
    narrow, wide, microphone = (keys.store.client(name).public_key for name in ("narrow", "wide", "microphone"))
    server = ServerKeys.load(keys.folder)
    assert not server.refresh()
    table = [
        server.allowed(who, camera) for who in (narrow, wide, microphone, None, "x") for camera in ("camera0", "b")
    ]
    assert table == [True, False, True, True] + [False] * 6
    assert server.allowed(microphone, "camera0", Role.SENDER)
    assert not server.allowed(wide, "camera0", Role.SENDER)
    assert [server.cameras(who) for who in (narrow, wide, microphone, None)] == [{"camera0"}, None, set(), set()]
    keys.new("another")
    (keys.folder / "clients" / ".half-written.1").symlink_to("nowhere")
    assert not server.refresh(), "more rights cut nobody off"
    assert server.allowed(keys.store.client("another").public_key, "camera0")
    entry = keys.folder / "clients" / "wide.key"
    entry.write_text(entry.read_text().replace('cameras = "*"', 'cameras = "b"'))
    assert server.refresh()
    assert not server.allowed(wide, "camera0")
    keys.store.revoke("narrow")
    assert server.refresh()
    assert not server.allowed(narrow, "camera0")
    entry.chmod(0o644)
    assert server.refresh(), "what others could have written is believed no longer"
    assert not server.allowed(wide, "b")
    for path in keys.folder.glob("clients/*"):
        path.unlink()
    (keys.folder / "clients").rmdir()
    assert server.refresh()
    assert not server.allowed(microphone, "camera0", Role.SENDER)
