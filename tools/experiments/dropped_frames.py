"""Lost frames: is something in view for 40 ticks yet, when bursts of frames never arrive?

    python tools/experiments/dropped_frames.py [--quick] [--json OUT]

Frames are lost in bursts of four on average. A network may count the frames that arrive, be told the time between them
(`dt`), or have the last frame's features repeated for each tick that is missing (hold). First four ways with the family
`cnn_lstm`, then every family with `dt`. Judged on digits that nobody learned from, at the ticks that arrived.
"""

from __future__ import annotations

from results import arguments, finish, table  # isort: skip - sets the number of threads first

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from eyes import SIDE, lend
from learners import bank_of, families_of, learn, toy_model
from memory import TICK_HZ, World, world
from sklearn.metrics import average_precision_score
from streams import Stream, kept_ticks, visit_stream, with_empty

from engines.families.contract import StreamModel
from engines.training.answers import answer, softmax
from engines.training.learning import Learning
from engines.training.sequences import FeatureSequence

LONG = 40
BURST = 4.0
RATES = (0.0, 0.2, 0.4, 0.6, 0.8)
MIDDLE = 0.4
LANES, CHUNK = 32, 64


@dataclass(frozen=True)
class Way:
    """How a network meets losses: in training or not, with the true times or as if none were lost, with repeats."""

    name: str
    lossy: bool = True
    times: bool = False
    hold: bool = False


WAYS = (
    Way("counts frames, learnt without losses", lossy=False),
    Way("counts frames"),
    Way("dt as an input", times=True),
    Way("last features held", hold=True),
)
DT = WAYS[2]


@dataclass(frozen=True)
class Received:
    """What a network reads of a stream, and at which of its steps a frame really came."""

    sequence: FeatureSequence
    came: npt.NDArray[np.int64]


def received(
    stream: Stream, bank: npt.NDArray[np.float32], rate: float, way: Way, rng: np.random.Generator
) -> Received:
    """A stream after a share `rate` of it was lost."""
    ticks = len(stream.shown)
    kept = kept_ticks(ticks, rate, BURST, rng)
    if way.hold:
        last = kept[np.maximum(np.searchsorted(kept, np.arange(ticks), side="right") - 1, 0)]
        times_s = np.arange(ticks) / TICK_HZ
        return Received(FeatureSequence("held", "held", bank[stream.shown[last]], times_s, stream.labels), kept)
    times_s = (kept if way.times else np.arange(len(kept))) / TICK_HZ
    sequence = FeatureSequence("lossy", "lossy", bank[stream.shown[kept]], times_s, stream.labels[kept])
    return Received(sequence, np.arange(len(kept)))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--families", default="", help="names with commas for the second table; by default all")
    chosen = parser.parse_args()
    updates, ticks = 500, 3000
    seen = _world_with_nothing()
    found: dict[str, dict[str, float]] = {}
    for way in WAYS:
        found[way.name] = _judged(_learnt("cnn_lstm", seen, way, updates), seen, way, RATES, ticks)
        print(way.name, found[way.name], flush=True)
    families = {"cnn_lstm": found[DT.name][_percent(MIDDLE)]}
    for family in families_of(chosen.families, quick=[] if chosen.quick else None):
        if family not in families:
            model = _learnt(family, seen, DT, updates)
            families |= {family: _judged(model, seen, DT, (MIDDLE,), ticks)[_percent(MIDDLE)]}
            print(family, families[family], flush=True)
    text = table(("cnn_lstm", *map(_percent, RATES)), [(name, *values.values()) for name, values in found.items()])
    more = table(("family, dt as an input", f"{_percent(MIDDLE)} lost"), list(families.items()))
    finish(chosen, {"average_precision": found, "families_dt": families}, f"{text}\n\n{more}")


def _percent(rate: float) -> str:
    return f"{rate:.0%}"


def _world_with_nothing() -> World:
    here, rng = world(), np.random.default_rng(3)
    return replace(here, known=with_empty(here.known, rng), unknown=with_empty(here.unknown, rng))


def _learnt(family: str, here: World, way: Way, updates: int) -> StreamModel:
    model = lend(here.sight, toy_model(family, "conv", (SIDE, SIDE), labels=2, fps=TICK_HZ))
    bank, rng = bank_of(model, here.known), np.random.default_rng(4)
    rates = np.linspace(0.0, 0.7, LANES) if way.lossy else np.zeros(LANES)
    learning = Learning(
        epochs=1, lanes=LANES, steps=CHUNK, learning_rate=4e-3, reset=0.02, join=0, offset=0, drop=0, warm_up_steps=0
    )
    steps = updates * CHUNK
    ticks = [steps if way.hold else int(1.1 * steps / (1.0 - rate)) for rate in rates]
    streams = [visit_stream(here.known, count, LONG, rng) for count in ticks]
    lossy = [received(stream, bank, rate, way, rng).sequence for stream, rate in zip(streams, rates, strict=True)]
    sequences = [first(sequence, steps) for sequence in lossy]
    learn(model, sequences, learning, labels=2)
    return model


def first(whole: FeatureSequence, steps: int) -> FeatureSequence:
    """Equally many steps of each lane, whatever was lost."""
    return replace(whole, features=whole.features[:steps], times_s=whole.times_s[:steps], labels=whole.labels[:steps])


def _judged(model: StreamModel, here: World, way: Way, rates: tuple[float, ...], ticks: int) -> dict[str, float]:
    bank, figures = bank_of(model, here.unknown), {}
    for rate in rates:
        rng = np.random.default_rng([round(100 * rate), 5])
        parts = [received(visit_stream(here.unknown, ticks, LONG, rng), bank, rate, way, rng) for _ in range(8)]
        said = answer(model, [part.sequence for part in parts])
        score = np.concatenate([softmax(one)[part.came, 1] for one, part in zip(said, parts, strict=True)])
        truth = np.concatenate([part.sequence.labels[part.came] for part in parts])
        figures[_percent(rate)] = float(average_precision_score(truth, score))
    return figures


if __name__ == "__main__":
    main()
