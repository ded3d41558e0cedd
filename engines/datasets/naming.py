"""Names in labelled data: a wrong one is answered with those there are and the one that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from engines.errors import DataError

_NAMED = 12


def check_label(label: str, labels: Sequence[str], where: str) -> None:
    """Refuse a label that is empty or, where `labels` are fixed, not among them.

    Raises:
        DataError: it names `where` the label stands and the one that was probably meant.
    """
    if not label:
        raise DataError(f"{where}: the label is empty: give every clip a label or leave the row out")
    if labels and label not in labels:
        raise DataError(f"{where}: there is no label {label!r}{meant(label, labels)}: the labels are {listed(labels)}")


def meant(word: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'?` where something known is close, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def listed(names: Iterable[str]) -> str:
    """Names side by side; many are cut short."""
    several = list(names)
    more = f" and {len(several) - _NAMED} more" if len(several) > _NAMED else ""
    return ", ".join(several[:_NAMED]) + more
