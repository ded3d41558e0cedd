"""The card of a bundle trained on labelled video: how good it was when measured, on what, and where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.datasets.labelled import Skipped
from engines.datasets.splits import count_labels
from engines.manifest import Manifest
from engines.training.clips.judging import SHOWN, Judgement, shown
from engines.training.clips.material import Material

CARD = """# {name} {version}

{headline}{summary}

Labels: {labels}. Input {width}x{height} BGR at {fps:g} frames/s. Family `{family}`{encoder}. A clip is {length:g} s
long, one every {stride:g} s; its scores are the {aggregate} of its steps' (logits divided by {temperature:.2f}).

## How good it is
Judged on {where}: {clips} {unit}. In brackets the middle 95 % of 1,000 draws of whole groups with replacement.

| figure | this model | {baseline_names} |
|---|---|{rule}
{figures}

{honest}

## What it learnt from
| label | {split_names} |
|---|{split_rule}
{counts}

{groups}{skipped}

## How it was trained
`vidpipe train` with the recipe in `manifest.yaml` (`training.recipe`): {epochs} epochs, {minutes:.1f} minutes in all on
{threads} thread(s).
{events}
{notes}
## What it must not be used for
It knows the kind of pictures it learnt from and nothing else: another camera height, light, crowd or place can make it
wrong without a sign. Measure it on clips of your own place first (`vidpipe evaluate`). Its answers are hints for a
person who looks; they must not decide alone about anybody, and they are no evidence of what somebody did or meant.
"""


@dataclass(frozen=True)
class Training:
    """How the network came about."""

    epochs: int
    minutes: float
    threads: int
    temperature: float
    honest: str


def make_card(about: Manifest, material: Material, judgement: Judgement, training: Training, notes: str = "") -> str:
    """The card as Markdown; `notes` goes in as it is."""
    names = tuple(judgement.baselines)
    rows = [
        f"| {title} | {shown(judgement.figures[key])} | "
        + " | ".join(shown(judgement.baselines[name][key]) for name in names)
        + (" |" if names else "")
        for key, title in SHOWN.items()
    ]
    facts = about.training.get("encoder")
    return CARD.format(
        name=about.name,
        version=about.version,
        headline=f"**{judgement.warning}**\n\n" if judgement.warning else "",
        summary=about.summary or "A model of labelled video.",
        labels=", ".join(f"`{label}`" for label in about.labels),
        width=about.input.width,
        height=about.input.height,
        fps=about.input.fps,
        family=about.family,
        encoder=f" on the encoder `{facts['name']}`" if isinstance(facts, dict) else "",
        length=about.clip.length_s,
        stride=about.clip.stride_s,
        aggregate=about.clip.aggregate,
        temperature=training.temperature,
        where=judgement.where,
        clips=judgement.clips,
        unit=material.unit,
        baseline_names=" | ".join(name.replace("|", "\\|") for name in names) or "no baseline",
        rule="---|" * max(1, len(names)),
        figures="\n".join(rows),
        honest=training.honest,
        **_data(material),
        epochs=training.epochs,
        minutes=training.minutes,
        threads=training.threads,
        events=_events(about),
        notes=f"\n{notes.strip()}\n" if notes.strip() else "",
    )


def _data(material: Material) -> dict[str, str]:
    splits = tuple(dict.fromkeys(video.split for video in material.dataset.videos))
    by_split = [[video for video in material.dataset.videos if video.split == split] for split in splits]
    tables = [count_labels(videos, material.dataset.labels) for videos in by_split]
    counts = "\n".join(
        f"| `{label}` | " + " | ".join(f"{table[label]} videos" for table in tables) + " |"
        for label in material.dataset.labels
    )
    sizes = ", ".join(
        f"{len(videos)} videos of {len({video.group for video in videos})} groups in {split or 'all'}"
        for split, videos in zip(splits, by_split, strict=True)
    )
    given = (
        "Groups (what comes from one source) were given, and no group is in two parts."
        if material.dataset.grouped
        else "**No groups were given**: every file counts as a source of its own. If several files come from one "
        "source, the figures above flatter."
    )
    return {
        "split_names": " | ".join(split or "all" for split in splits),
        "split_rule": "---|" * len(splits),
        "counts": counts,
        "groups": f"{sizes}. {given}",
        "skipped": _skipped(material.skipped),
    }


def _skipped(skipped: Sequence[Skipped]) -> str:
    if not skipped:
        return " Every file could be used."
    lines = "\n".join(f"- {Path(each.path).name}: {_reason(each)}" for each in skipped)
    return f"\n\n{len(skipped)} file{'s' if len(skipped) > 1 else ''} could not be used:\n{lines}"


def _reason(skipped: Skipped) -> str:
    """Without the folder, which says nothing to a reader elsewhere."""
    return skipped.reason.removeprefix(f"{skipped.path}: ")


def _events(about: Manifest) -> str:
    if not about.events:
        return ""
    rules = "; ".join(
        f"`{label}` from {rule.enter:g} until below {rule.exit:g}, {rule.min_duration_s:g} s at least"
        for label, rule in about.events.items()
    )
    return f"Event rules, chosen on the held-out videos joined into streams: {rules}."
