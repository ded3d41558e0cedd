"""What one fault came to: the goal, what was measured, and whether that meets it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from faults.bench import Bench

Outcome = Literal["pass", "fail", "not run"]


class Finding(msgspec.Struct, frozen=True):
    """One sentence with the figures, and whether all of them meet the goal."""

    measured: str
    verdict: Outcome


class Row(msgspec.Struct, frozen=True):
    """A line of the table fault -> expected -> measured -> verdict; `seconds` is what it took."""

    id: str
    fault: str
    expected: str
    measured: str
    verdict: Outcome
    seconds: float


@dataclass(frozen=True)
class Case:
    """A fault that is injected for real. One with `quiet` only waits, and may run beside others."""

    id: str
    fault: str
    expected: str
    run: Callable[[Bench], Finding]
    quiet: bool = False


class Checks:
    """Gathers figures with their limits into a finding."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._failed: list[str] = []
        self._undecided = False

    def at_most(self, what: str, value: float | None, limit: float, unit: str = "s", *, excuse: str = "") -> None:
        """Note a figure that must not exceed its limit, as it is shown; None is a figure that never came.

        With an `excuse`, one that does leaves the case undecided, which is no pass: something else is known to be able
        to cause it.
        """
        if excuse and value is not None and round(value, 2) > limit:
            self._parts.append(f"**{what} {value:.2f} {unit}** (wanted at most {limit:g}; undecided: {excuse})")
            self._undecided = True
        elif value is None:
            self.that(f"{what}: never", met=False)
        else:
            figure = f"{value:.2f} {unit}" if unit else f"{value:g}"
            self.that(f"{what} {figure}", met=round(value, 2) <= limit, limit=f"at most {limit:g}")

    def equal(self, what: str, value: object, expected: object) -> None:
        """Note a figure that must be the expected one."""
        self.that(f"{what} {value}", met=value == expected, limit=f"{expected}")

    def that(self, sentence: str, *, met: bool, limit: str = "") -> None:
        """Note a sentence and whether it is as it should be."""
        self._parts.append(sentence if met else f"**{sentence}**{f' (wanted {limit})' if limit else ''}")
        if not met:
            self._failed.append(sentence)

    def note(self, sentence: str) -> None:
        """Note something that decides nothing."""
        self._parts.append(sentence)

    def finding(self) -> Finding:
        """All of it."""
        verdict: Outcome = "fail" if self._failed else "not run" if self._undecided else "pass"
        return Finding("; ".join(self._parts), verdict)
