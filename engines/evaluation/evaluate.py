"""An evaluation from a bundle and labelled videos to one record of figures, and to what a report draws from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engines.bundle import Bundle
from engines.datasets.labelled import Dataset, LabelledVideo
from engines.datasets.splits import select
from engines.errors import DataError
from engines.evaluation.judging import Judging, Material, Opponents, Order
from engines.evaluation.offline import NotComparableError, WholeSequence
from engines.evaluation.opponents import find_baselines
from engines.evaluation.record import Evaluation
from engines.evaluation.watching import Watcher

Progress = Callable[[str], None]


def evaluate(
    bundle: Bundle, dataset: Dataset, order: Order, progress: Progress = lambda _: None
) -> tuple[Evaluation, Material]:
    """Let the model watch the videos as it would live, and judge it beside the baselines.

    Raises:
        DataError: there is no such split, or no video of it can be read.
        BackendError: the back end cannot run the model.
        MissingExtraError: baselines have to be fitted and scikit-learn is not installed.
    """
    chosen = _chosen(dataset, order)
    whole, why = _whole(bundle)
    with Watcher(bundle, order.backend, whole=whole, threads=order.threads) as watcher:
        watched, skipped = watcher.watch(chosen, progress)
        if not watched:
            raise DataError(f"{dataset.origin}: none of the {len(chosen)} videos can be judged; {skipped[0].reason}")
        baselines, origin = find_baselines(bundle, dataset, chosen, watcher, progress)
        backend = watcher.backend
    progress("figures and intervals")
    judging = Judging(bundle, dataset, order, watched, Opponents(baselines, origin, why))
    return judging.record(backend, (*dataset.skipped, *skipped)), judging.material


def _chosen(dataset: Dataset, order: Order) -> list[LabelledVideo]:
    """The videos to judge, in the order of the joined stream, which the seed draws."""
    videos = list(select(dataset, order.split))
    return [videos[index] for index in np.random.default_rng(order.seed).permutation(len(videos))]


def _whole(bundle: Bundle) -> tuple[WholeSequence | None, str]:
    try:
        return WholeSequence.load(bundle), ""
    except NotComparableError as reason:
        return None, str(reason)
