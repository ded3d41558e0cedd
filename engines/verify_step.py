"""Checks of the stateful step: many cameras through one pool must be as good as each camera alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from engines.agreement import DT, FEATURES, KEEP, LOGITS, PROB
from engines.arrivals import Arrivals, CameraStream
from engines.comparison import ALONE, TRAINER, Answers, Check, Row, compare_answers, failed
from engines.engine import Array, Feeds
from engines.golden import Golden
from engines.manifest import Manifest, StateTensor
from engines.snapshot import decode_snapshot, encode_snapshot
from engines.temporal import StepResult, Temporal

Run: TypeAlias = Callable[[Feeds], dict[str, Array]]
Moment: TypeAlias = tuple[int, int]  # camera, step


def run_alone(run: Run, manifest: Manifest, stream: CameraStream, *, forget: bool = False) -> Answers:
    """One camera, one step at a time, its state kept in a plain dictionary: shares nothing with the pool.

    A fresh start is zero state and the nominal dt here, and `keep` 0 in the pool: the graph must make them equal.
    With `forget` every step starts from zero state, which is wrong on purpose.
    """
    always = np.ones(1, np.float32)
    dt = np.where(stream.fresh, 1 / manifest.input.fps, stream.dt).astype(np.float32)
    state = _zero_state(manifest)
    prob, logits = [], []
    for t in range(len(stream)):
        if stream.fresh[t] or forget:
            state = _zero_state(manifest)
        outputs = run({FEATURES: stream.features[t : t + 1], DT: dt[t : t + 1], KEEP: always, **state})
        state = {each.input: outputs[each.output] for each in manifest.state}
        prob.append(outputs[PROB][0])
        logits.append(outputs[LOGITS][0])
    return Answers(np.array(prob, np.float64), np.array(logits, np.float64))


def run_together(temporal: Temporal, traffic: Arrivals, poison: Moment | None = None) -> tuple[list[Answers], bool]:
    """All cameras through the pool in ragged batches; answers per camera, and whether `ok` was right at every step.

    At the moment `poison` a camera's features are NaN, and `ok` must be false there and nowhere else.
    """
    rows = _rows_used_before(temporal, traffic)
    results: list[list[tuple[Array, Array]]] = [[] for _ in traffic.streams]
    ok_right = True
    for batch in traffic.batches:
        moments = [(camera, len(results[camera])) for camera in batch]
        result = _step(temporal, rows[list(batch)], traffic, moments, poison)
        ok_right &= result.ok.tolist() == [moment != poison for moment in moments]
        for i, camera in enumerate(batch):
            results[camera].append((result.prob[i], result.logits[i]))
    for row in rows.tolist():
        temporal.pool.release(row)
    return [Answers(*(np.array(part, np.float64) for part in zip(*each, strict=True))) for each in results], ok_right


def check_streams(name: str, temporal: Temporal, traffic: Arrivals, alone: Sequence[Answers]) -> Check:
    """Ragged batches of all cameras, resets included, against each camera alone on the same back end."""
    together, ok_right = run_together(temporal, traffic)
    row = Row("cameras in random batches", name, ALONE)
    return (
        compare_answers(row, joined(together), joined(alone))
        if ok_right
        else failed(row, "ok was 0 on finite features")
    )


def check_poison(name: str, temporal: Temporal, traffic: Arrivals, run: Run, manifest: Manifest) -> Check:
    """One camera sends NaN once: the others must not notice, and it must start afresh."""
    step = len(traffic.streams[0]) // 2
    # the row is zeroed, not started by `keep`, so its next step looks at its dt: make that the one of a fresh start
    dt = traffic.streams[0].dt.copy()
    dt[step + 1 : step + 2] = 1 / manifest.input.fps
    traffic = replace(traffic, streams=(replace(traffic.streams[0], dt=dt), *traffic.streams[1:]))
    together, ok_right = run_together(temporal, traffic, poison=(0, step))
    row = Row("one camera sends NaN", name, ALONE)
    if not ok_right:
        return failed(row, "ok must be 0 for the row that went non-finite and for no other")
    found = [_without(together[0], step), *together[1:]]
    streams = [traffic.streams[0].without(step), *traffic.streams[1:]]
    return compare_answers(row, joined(found), joined([run_alone(run, manifest, stream) for stream in streams]))


def check_snapshot(name: str, temporal: Temporal, stream: CameraStream, alone: Answers) -> Check:
    """A camera stopped half-way, stored as bytes and restored into another row, against the uninterrupted run."""
    half = len(stream) // 2
    first, second = temporal.pool.acquire("before"), temporal.pool.acquire("after")
    traffic = Arrivals((stream,), ())
    results = [_step(temporal, np.array([first]), traffic, [(0, t)]) for t in range(half)]
    data = encode_snapshot(temporal.pool.snapshot(first, age_steps=half, age_s=float(stream.dt[:half].sum())))
    temporal.pool.restore(second, decode_snapshot(data))
    results += [_step(temporal, np.array([second]), traffic, [(0, t)]) for t in range(half, len(stream))]
    temporal.pool.release(first)
    temporal.pool.release(second)
    prob, logits = (
        np.concatenate([getattr(each, name) for each in results], dtype=np.float64) for name in (PROB, LOGITS)
    )
    return compare_answers(Row("stored and restored", name, ALONE), Answers(prob, logits), alone)


def check_golden(name: str, run: Run, manifest: Manifest, golden: Golden) -> Check:
    """Single steps against the trainer's one pass over the whole sequence."""
    stream = CameraStream(golden.features, golden.dt, np.zeros(len(golden.dt), np.bool_))
    found = run_alone(run, manifest, stream).logits
    expected = golden.logits.astype(np.float64)  # only logits are recorded, and they decide as probabilities do
    row = Row("step, one sequence", name, TRAINER)
    return compare_answers(row, Answers(found, found), Answers(expected, expected))


def controls(name: str, run: Run, manifest: Manifest, traffic: Arrivals, alone: Answers) -> list[Check]:
    """Runs of camera 1 that are wrong on purpose; each must differ from the right one."""
    other, stream = traffic.streams[0], traffic.streams[1]
    exchanged = CameraStream(other.features[: len(stream)], stream.dt, stream.fresh)
    wrong = {"control: another camera": run_alone(run, manifest, exchanged)}
    if manifest.state:
        wrong["control: state dropped"] = run_alone(run, manifest, stream, forget=True)
    for swapped, pair in _swaps(manifest):
        wrong[f"control: {pair} swapped"] = run_alone(run, swapped, stream)
    rows = {check: Row(check, name, ALONE, must_differ=True) for check in wrong}
    return [compare_answers(rows[check], found, alone) for check, found in wrong.items()]


def joined(answers: Sequence[Answers], steps: int | None = None) -> Answers:
    """The answers of several cameras as one, at most the first `steps` of each."""
    return Answers(
        np.concatenate([each.prob[:steps] for each in answers]),
        np.concatenate([each.logits[:steps] for each in answers]),
    )


def _step(
    temporal: Temporal,
    rows: NDArray[np.int64],
    traffic: Arrivals,
    moments: Sequence[Moment],
    poison: Moment | None = None,
) -> StepResult:
    features = np.stack([traffic.streams[camera].features[t] for camera, t in moments])
    features[[moment == poison for moment in moments]] = np.nan
    dt = np.array([traffic.streams[camera].dt[t] for camera, t in moments])
    return temporal.step(rows, features, dt, np.array([not traffic.streams[camera].fresh[t] for camera, t in moments]))


def _rows_used_before(temporal: Temporal, traffic: Arrivals) -> NDArray[np.int64]:
    """Rows that others left dirty, so that a pool that does not zero what it hands out is found."""
    cameras = range(len(traffic.streams))
    rows = np.array([temporal.pool.acquire(("earlier", camera)) for camera in cameras])
    _step(temporal, rows, traffic, [(camera, 0) for camera in cameras])
    for row in rows.tolist():
        temporal.pool.release(row)
    return np.array([temporal.pool.acquire(camera) for camera in cameras])


def _zero_state(manifest: Manifest) -> dict[str, Array]:
    return {state.input: np.zeros((1, *state.shape), np.float32) for state in manifest.state}


def _without(answers: Answers, step: int) -> Answers:
    return Answers(np.delete(answers.prob, step, axis=0), np.delete(answers.logits, step, axis=0))


def _swaps(manifest: Manifest) -> list[tuple[Manifest, str]]:
    """The manifest with two outputs of equal shape exchanged, once for each such pair."""
    result = []
    for a, b in combinations(manifest.state, 2):
        if a.shape == b.shape:
            crossed = {a: StateTensor(a.input, b.output, a.shape), b: StateTensor(b.input, a.output, b.shape)}
            state = tuple(crossed.get(each, each) for each in manifest.state)
            result.append((msgspec.structs.replace(manifest, state=state), f"{a.input}, {b.input}"))
    return result
