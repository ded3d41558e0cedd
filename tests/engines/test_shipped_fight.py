"""The shipped model `fight`: both of its modes agree, its card holds what it must, and its figures come out again."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("torch")

import videos

from engines.bundle import load_bundle
from engines.datasets.reading import load_dataset
from engines.evaluation.evaluate import evaluate
from engines.evaluation.judging import Order
from engines.evaluation.record import Evaluation

CLIPS = Path(__file__).parents[3] / "shared" / "data" / "fight" / "manifest.csv"


def judged(manifest: Path, split: str = "") -> Evaluation:
    bundle = load_bundle("fight")
    dataset = load_dataset(manifest, labels=bundle.manifest.labels, background="nofight")
    return evaluate(bundle, dataset, Order(split=split, draws=0))[0]


def test_its_card_says_what_it_is_for_how_good_it_is_and_where_it_fails() -> None:
    bundle = load_bundle("fight")
    card, metrics = bundle.read("card.md").decode(), bundle.manifest.metrics
    for part in ("MIT licence", "## Where it fails", "## What it must not be used for", "over 21 groups"):
        assert part in card
    assert metrics["accuracy_low"] < metrics["accuracy"] < metrics["accuracy_high"]
    assert f"{metrics['accuracy']:.3f} ({metrics['accuracy_low']:.3f} to" in card


def test_single_steps_give_what_one_pass_over_the_sequence_gives(tmp_path: Path) -> None:
    for number in range(2):
        videos.write_video(tmp_path / f"{number}.mp4", 20, width=64, height=48)
    rows = ["path,label,group", "0.mp4,fight,a", "1.mp4,nofight,b"]
    (tmp_path / "clips.csv").write_text("\n".join(rows) + "\n")
    found = judged(tmp_path / "clips.csv")
    assert found.agreement.compared
    assert found.agreement.largest_difference is not None
    assert found.agreement.largest_difference < 1e-4
    assert set(found.baselines) == {"single frame", "mean over frames", "mean + |difference|"}


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(not CLIPS.exists(), reason="the fight clips do not lie beside the checkout")
def test_the_documented_figures_of_the_held_out_clips() -> None:
    found = judged(CLIPS, "val")
    assert found.agreement.same_decisions
    assert found.figures["accuracy"].value == pytest.approx(34 / 46)
    assert found.figures["auc"].value == pytest.approx(0.820, abs=0.005)
