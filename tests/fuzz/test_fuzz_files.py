"""Whatever a file holds, reading it gives its contents or one of our own errors."""

import contextlib
import zlib
from pathlib import Path

import msgspec
import pytest
import yaml
from hostile import CASES, altered, attack, bytes_like
from hypothesis import strategies as st

from engines.bundle import list_bundles
from engines.errors import ConfigError, KeysError, ModelError
from engines.manifest import parse_manifest
from engines.snapshot import SavedTensor, Snapshot, decode_snapshot, encode_snapshot
from engines.training.recipe_file import read_recipe
from pipeline.config.load import load_config
from pipeline.keys.certificate import Certificate, is_key, new_certificate, read_text, write_text
from pipeline.keys.client import ClientKeys
from pipeline.keys.store import KeyStore, Role

ROOT = Path(__file__).parents[2]
YAML_TRAPS = [
    b"2026-13-45",
    b"!!python/object:os.system x",
    b"!!timestamp 1",
    b"&a [*a]",
    b"<<: *x",
    b"? [a, b]\n: c",
    b"0b",
    b"1_000__",
    b"999999:99:99",
    b".inf",
    b".nan",
    b"\xef\xbb\xbf",
    b"\x00",
    b"${",
    b"${X:-}",
    b"1" * 5000,
    b"---\n",
    b"!!binary =",
    b"!!set {a}",
    b"!!omap [a]",
    b"!!int x",
    b"!!float x",
    b"- " * 50,
    b"[" * 2000,
    b"=",
]


@st.composite
def trapped(draw, texts):
    """A good text where one value is something that YAML makes an unusual thing of."""
    lines = draw(st.sampled_from(texts)).split(b"\n")
    at = draw(st.sampled_from([i for i, line in enumerate(lines) if b": " in line]))
    key, _, value = lines[at].partition(b": ")
    trap = draw(st.sampled_from(YAML_TRAPS))
    lines[at] = draw(st.sampled_from([key + b": " + trap, b"%s: {x: %s}" % (key, trap), b"%s: %s" % (trap, value)]))
    return b"\n".join(lines)


@CASES
def test_manifests(cases):
    wholes = [
        yaml.safe_load((ROOT / "engines/bundles" / name / "manifest.yaml").read_text()) for name in list_bundles()
    ]
    # the history of a training is long, and free text to us
    goods = [{key: value for key, value in whole.items() if key not in ("training", "metrics")} for whole in wholes]
    texts = [yaml.safe_dump(good).encode() for good in goods]
    records = st.one_of(*map(altered, goods))
    forms = st.one_of(
        bytes_like(texts, YAML_TRAPS), trapped(texts), records.map(lambda value: yaml.safe_dump(value).encode())
    )

    def target(data):
        with contextlib.suppress(ModelError):
            parse_manifest(data.decode("utf-8", "replace"), "it")

    attack(target, forms, cases)


@CASES
def test_configurations(cases, tmp_path):
    texts = [path.read_bytes() for path in (ROOT / "configs").rglob("*.yaml") if b"cameras:" in path.read_bytes()]
    texts.append((ROOT / "pipeline" / "config" / "starter.yaml").read_bytes())
    records = st.one_of(*(altered(yaml.safe_load(text)) for text in texts))
    forms = st.one_of(
        bytes_like(texts, YAML_TRAPS), trapped(texts), records.map(lambda value: yaml.safe_dump(value).encode())
    )
    path = tmp_path / "vidpipe.yaml"

    def target(data):
        path.write_bytes(data)
        with contextlib.suppress(ConfigError):
            load_config(path, {"X": "value"})

    attack(target, forms, cases)


@CASES
def test_recipes(cases, tmp_path):
    texts = [path.read_bytes() for path in (ROOT / "configs").glob("*.yaml")]
    path = tmp_path / "recipe.yaml"

    def target(data):
        path.write_bytes(data)
        with contextlib.suppress(ConfigError):
            read_recipe(path)

    attack(target, st.one_of(bytes_like(texts, YAML_TRAPS), trapped(texts)), cases)


@pytest.fixture
def carried(tmp_path):
    store = KeyStore(tmp_path / "keys", create=True)
    store.new("a", ["camera0"], Role.SUBSCRIBER, "tcp://127.0.0.1:5555", tmp_path / "a")
    return tmp_path / "a"


KEY_PIECES = [
    b"metadata\n",
    b"curve\n",
    b'    public-key = "',
    b'"',
    b"\n",
    b"\t",
    b"#",
    b"\r\n",
    "é".encode(),
    b"\xff",
]


@CASES
def test_key_files(cases, carried):
    def target(data):
        carried.write_bytes(data)
        with contextlib.suppress(KeysError):
            ClientKeys.load(carried)

    attack(target, bytes_like([carried.read_bytes()], KEY_PIECES), cases)


@CASES
def test_entries_of_clients(cases, carried, tmp_path):
    store = KeyStore(tmp_path / "keys")
    entry = tmp_path / "keys" / "clients" / "a.key"
    good = store.client("a")

    def target(data):
        entry.write_bytes(data)
        with contextlib.suppress(KeysError):
            client = store.client("a")
            assert is_key(client.public_key)
            assert client.may(Role.SUBSCRIBER, "other") <= (client.cameras is None or "other" in client.cameras)

    attack(
        target, bytes_like([entry.read_bytes(), entry.read_bytes().replace(b'"camera0"', b'"*"')], KEY_PIECES), cases
    )
    assert good.may(Role.SUBSCRIBER, "camera0")


@CASES
def test_every_certificate_is_read_as_it_was_written(cases):
    plain = st.text(st.characters(exclude_characters='"\x7f', min_codepoint=32, exclude_categories=["Cs"]), max_size=30)
    names = st.from_regex(r"[a-z]{1,8}(_[a-z]{1,8})?", fullmatch=True)
    pair = new_certificate()

    def target(metadata):
        certificate = Certificate(pair.public_key, pair.secret_key, metadata)
        assert read_text(write_text(certificate, "remark"), "it") == certificate

    attack(target, st.dictionaries(names, plain, max_size=4), cases)


@CASES
def test_snapshots_of_state(cases):
    good = encode_snapshot(Snapshot("ab", 3, 1.5, {"h": SavedTensor((2,), b"\x00" * 8)}))

    def target(data):
        with contextlib.suppress(ModelError):
            decode_snapshot(data)

    bodies = bytes_like([good[4:], msgspec.msgpack.encode({}), b"\x91" * 3000])
    sealed = bodies.map(lambda body: zlib.crc32(body).to_bytes(4, "big") + body)
    attack(target, st.one_of(bytes_like([good]), sealed), cases)
