"""Configurations: found, read, checked whole; every error at once and in plain words; no secret in any of them."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from engines.errors import ConfigError
from pipeline.config.load import STARTER, find_config, load_config, select_cameras
from pipeline.config.source import SourceKind, parse_source

SECRET = "c4nary-p4ss"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "vidpipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def complaint(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text), environment or {})
    return str(caught.value)


def test_the_shipped_configuration_is_the_starter_and_runs_the_scene():
    shipped = Path(__file__).parents[2] / "configs" / "vidpipe.yaml"
    assert shipped.read_text() == STARTER.read_text()
    config = load_config(shipped, {})
    assert config.cameras["camera0"].source.kind is SourceKind.SCENE
    assert config.publish.bind == "tcp://127.0.0.1:5555"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "cameras: {a: {source: scene://, modle: x}}",
            ["cameras.a.modle: unknown key, did you mean model?; allowed are"],
        ),
        ("camras: {a: {source: 0}}", ["cameras: is missing", "camras: unknown key, did you mean cameras?"]),
        ("cameras: {a: {}}", ["cameras.a.source: is missing"]),
        ("cameras: {}", ["cameras: names no camera"]),
        ("cameras: {a: {source: ftp://x/y}}", ["cameras.a.source: has the scheme ftp://; allowed are rtsp://"]),
        ("cameras: {a: {source: 'rtsp://'}}", ["cameras.a.source: rtsp:// names no host"]),
        ("cameras: {a: {source: [1]}}", ["cameras.a.source: must be text or a device number"]),
        ("cameras: {a: {source: true}}", ["cameras.a.source: must be text or a device number"]),
        ("cameras: {a: {source: 0, fps: fast}}", ["cameras.a.fps: is 'fast'; input should be a valid number"]),
        ("cameras: {a: {source: 0, fps: 0}}", ["cameras.a.fps: is 0; input should be greater than 0"]),
        (
            "cameras: {a: {source: 0, continuity: {max_gap_s: .inf}}}\n"
            "publish: {journal: {max_age_s: .inf, max_mb: 1.0e+300}}",
            [
                "cameras.a.continuity.max_gap_s: is inf; input should be less than or equal to 86400",
                "publish.journal.max_age_s: is inf; input should be less than or equal to 31536000",
                "publish.journal.max_mb: is 1e+300; input should be less than or equal to 1000000",
            ],
        ),
        ("cameras: {a: {source: 0, crop: {x: 0.5, width: 0.6}}}", ["cameras.a.crop: reaches outside the picture"]),
        ("cameras: {a b: {source: 0}}", ["cameras.a b: a camera's name may hold letters"]),
        ("cameras: {a: 7}", ["cameras.a: is 7; it must be a section of keys and values"]),
        (
            "cameras: {a: {source: 0, continuity: {gap: rest}}}",
            ["cameras.a.continuity.gap: is 'rest', did you mean reset?; allowed are keep, reset, hold"],
        ),
        (
            "cameras: {a: {source: 0, continuity: {gp: keep}}}",
            ["cameras.a.continuity.gp: unknown key, did you mean gap?"],
        ),
        ("cameras: {a: {source: 0}}\npublish: {bind: 5555}", ["publish.bind: is 5555; input should be a valid string"]),
        (
            "cameras: {a: {source: 0}}\npublish: {bind: 'tcp://127.0.0.1:99999'}",
            ["publish.bind: is 'tcp://127.0.0.1:99999'; it"],
        ),
        ("cameras: {a: {source: 0}}\npublish: {bind: 'tcp://127.0.0.1'}", ["must end with a port from 1 to 65535"]),
        ("cameras: {a: {source: 0}}\npublish: {format: xml}", ["publish.format: is 'xml'; allowed are msgpack, json"]),
        ("cameras: {a: {source: 0}}\ninference: {backend: cuda}", ["inference.backend: is 'cuda'; allowed are auto"]),
        (
            "cameras: {a: {source: 0}}\ninference: {precision: half}",
            ["inference.precision: is 'half'; allowed are auto, f32, f16, bf16"],
        ),
        ("cameras: {a: {source: 0}, a: {source: 1}}", ["line 1: the key a comes twice"]),
        ("cameras: [\n", ["no valid YAML in line 2"]),
        ("", ["holds no settings: vidpipe init"]),
        ("just text", ["holds no settings"]),
        ("cameras: {a: {source: 'rtsp://${CAM}/x'}}", ["cameras.a.source: the environment variable CAM is not set"]),
    ],
)
def test_every_error_is_named_with_its_path_and_the_way_out(tmp_path, text, expected):
    said = complaint(tmp_path, text)
    for sentence in expected:
        assert sentence in said


def test_all_errors_come_at_once(tmp_path):
    said = complaint(tmp_path, "cameras: {a: {source: ftp://h/, fps: -1, colour: red}, b: {}}\npublish: {prot: 1}")
    assert len(said.splitlines()) == 6


def test_a_file_that_was_named_must_exist(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="does not exist: vidpipe init"):
        load_config(tmp_path / "none.yaml")
    monkeypatch.setenv("VIDPIPE_CONFIG", str(tmp_path / "other.yaml"))
    with pytest.raises(ConfigError, match=r"other\.yaml does not exist"):
        load_config()


def test_the_file_is_looked_for_in_order(tmp_path, monkeypatch):
    monkeypatch.delenv("VIDPIPE_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    assert find_config() == STARTER
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "vidpipe.yaml").touch()
    assert find_config() == Path("configs/vidpipe.yaml")
    (tmp_path / "vidpipe.yaml").touch()
    assert find_config() == Path("vidpipe.yaml")


def test_a_binary_file_and_a_folder_are_refused(tmp_path):
    path = tmp_path / "vidpipe.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError, match="no text file"):
        load_config(path)
    with pytest.raises(ConfigError, match="is a folder: name the file in it"):
        load_config(tmp_path)


def test_variables_are_replaced_and_may_have_a_default(tmp_path):
    text = "cameras: {a: {source: 'rtsp://u:${PASS}@h/x', model: '${MODEL:-scene}'}}"
    camera = load_config(write(tmp_path, text), {"PASS": SECRET}).cameras["a"]
    assert camera.source.reveal() == f"rtsp://u:{SECRET}@h/x"
    assert camera.model == "scene"


def test_who_asks_a_running_vidpipe_needs_no_password_of_a_camera(tmp_path):
    text = "cameras: {a: {source: 'rtsp://u:${PW}@cam/x'}, b: {source: '${B}'}}"
    file = write(tmp_path, text)
    assert set(load_config(file, {}, opens_cameras=False).cameras) == {"a", "b"}
    with pytest.raises(ConfigError, match=r"publish\.bind: the environment variable BIND is not set"):
        load_config(write(tmp_path, file.read_text() + "\npublish: {bind: '${BIND}'}"), {}, opens_cameras=False)


def test_a_password_shows_nowhere(tmp_path):
    text = "cameras: {a: {source: 'rtsp://u:%s@h/x'}}" % SECRET
    config = load_config(write(tmp_path, text), {})
    shown = [repr(config), str(config), repr(config.cameras["a"].source), f"{config.cameras['a'].source}"]
    broken = ["cameras: rtsp://u:%s@h/x", "cameras: {a: {source: 'ftp://u:%s@h/x'}}", "cameras: {a: 'rtsp://u:%s@h/x'}"]
    shown += [complaint(tmp_path, text % SECRET) for text in broken]
    assert not [text for text in shown if SECRET in text]


@pytest.mark.parametrize(
    ("value", "kind", "live"),
    [
        ("rtsp://h/x", SourceKind.RTSP, True),
        ("RTSPS://h/x", SourceKind.RTSP, True),
        ("https://h/x.mjpg", SourceKind.HTTP, True),
        (0, SourceKind.DEVICE, True),
        ("2", SourceKind.DEVICE, True),
        ("scene://?seed=3", SourceKind.SCENE, True),
        ("videos/a.mp4", SourceKind.FILE, False),
        ("file:///videos/a.mp4", SourceKind.FILE, False),
    ],
)
def test_sources_are_told_apart(value, kind, live):
    source = parse_source(value)
    assert (source.kind, source.live) == (kind, live)


def test_cameras_are_chosen_by_name_or_by_being_enabled(tmp_path):
    text = "cameras: {front: {source: 0}, back: {source: 1, enabled: false}}"
    config = load_config(write(tmp_path, text), {})
    assert list(select_cameras(config, [])) == ["front"]
    assert list(select_cameras(config, ["back"])) == ["back"]
    with pytest.raises(ConfigError, match="no camera frnt, did you mean front"):
        select_cameras(config, ["frnt"])
    off = load_config(write(tmp_path, "cameras: {a: {source: 0, enabled: false}}"), {})
    with pytest.raises(ConfigError, match="enabled: false"):
        select_cameras(off, [])


@pytest.mark.parametrize("text", ["cameras: {a: {source: {{ url }}}}", "cameras: {[a]: {source: 0}}", "? [a, b]\n: 1"])
def test_a_key_that_is_no_text_is_a_sentence(tmp_path, text):
    assert "a key must be text" in complaint(tmp_path, text)


@pytest.mark.parametrize(
    "text", ["cameras: {'%s': 1, '%s': 2}", "cameras: {a: {source: !!%s 1}}", "cameras: {a: {source: !!int '%s'}}"]
)
def test_an_address_in_the_wrong_place_of_a_broken_file_is_redacted(tmp_path, text):
    said = complaint(tmp_path, text.replace("%s", f"rtsp://u:{SECRET}@h/x"))
    assert "is no valid YAML" in said
    assert SECRET not in said


def test_an_address_in_the_wrong_place_is_redacted(tmp_path):
    assert SECRET not in complaint(tmp_path, "cameras: {'rtsp://u:%s@h/x': {source: 0}}" % SECRET)
    config = load_config(write(tmp_path, "cameras: {a: {source: 'rtsp://u:%s@h/x'}}" % SECRET), {})
    with pytest.raises(ConfigError, match="is an address: cameras are named in the configuration") as caught:
        select_cameras(config, [f"rtsp://u:{SECRET}@h/x"])
    assert SECRET not in str(caught.value)
    assert SECRET not in str(config.model_dump()) + config.model_dump_json()
    spaced = complaint(tmp_path, "cameras: {a: {source: 'rtsp://u:%s one@'}}" % SECRET)
    assert SECRET not in spaced


def test_values_from_the_environment_are_shown_in_no_error(tmp_path):
    said = complaint(tmp_path, "cameras: {a: {source: '${PASS}://h/x', fps: '${PASS}'}}", {"PASS": SECRET})
    assert SECRET not in said
    assert "cameras.a.fps" in said


@pytest.mark.parametrize("password", ["p@ss:w%41rd", "p/w?r#d1", "a b&c=d;e+ä"])
def test_a_password_from_the_environment_may_hold_anything(tmp_path, password):
    text = "cameras: {a: {source: 'rtsp://cam:${PASS}@h/x'}}"
    address = load_config(write(tmp_path, text), {"PASS": password}).cameras["a"].source.reveal()
    parts = urlsplit(address)
    assert (unquote(parts.password or ""), parts.hostname, parts.path) == (password, "h", "/x")


@pytest.mark.parametrize("off", ["off", "'off'", "Off"])
def test_off_needs_no_quotes(tmp_path, off):
    text = f"cameras: {{a: {{source: 0}}}}\nmetrics: {{bind: {off}}}\npublish: {{replay: {off}}}"
    config = load_config(write(tmp_path, text), {})
    assert (config.metrics.bind, config.publish.replay) == ("off", "off")


def test_an_empty_section_is_its_defaults(tmp_path):
    config = load_config(write(tmp_path, "cameras: {a: {source: 0}}\npublish:\ninference:\n"), {})
    assert config.publish.bind == "tcp://127.0.0.1:5555"
    assert "cameras: is None" in complaint(tmp_path, "cameras:\n")


@pytest.mark.parametrize("precision", ["auto", "f32", "f16", "bf16"])
def test_the_precision_is_automatic_unless_named(tmp_path, precision):
    text = "cameras: {a: {source: 0}}"
    assert load_config(write(tmp_path, text), {}).inference.precision == "auto"
    named = load_config(write(tmp_path, f"{text}\ninference: {{precision: {precision}}}"), {})
    assert named.inference.precision == precision


@pytest.mark.parametrize(
    ("source", "values", "address"),
    [
        ("${DIR}/a b.mp4", {"DIR": "/videos/x@y"}, "/videos/x@y/a b.mp4"),
        ("${URL}", {"URL": "rtsp://u:p%40s@h:554/x"}, "rtsp://u:p%40s@h:554/x"),
        ("rtsp://${HOST}/${PATH}", {"HOST": "h:554", "PATH": "live/1?a=b"}, "rtsp://h:554/live/1?a=b"),
        ("rtsp://${HOST}/live@${PATH}", {"HOST": "h:554", "PATH": "x"}, "rtsp://h:554/live@x"),
        ("rtsp://u:${PASS}@${HOST}/cam@1", {"HOST": "h:554", "PASS": "a/b@c"}, "rtsp://u:a%2Fb%40c@h:554/cam@1"),
        ("rtsp://u:${PASS:-a/b}@h/x", {}, "rtsp://u:a%2Fb@h/x"),
    ],
)
def test_only_a_password_is_quoted(tmp_path, source, values, address):
    config = load_config(write(tmp_path, f"cameras: {{a: {{source: '{source}'}}}}"), values)
    assert config.cameras["a"].source.reveal() == address


def test_what_came_from_the_environment_is_known_as_a_secret(tmp_path):
    text = "cameras: {a: {source: 'scene://', model: '${MODEL}'}}"
    assert SECRET in load_config(write(tmp_path, text), {"MODEL": SECRET}).secrets.values
