"""How much is subscribed to, and how fast: what a client may ask of a publisher before it has to leave."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

MOST_IN_A_SECOND = 20_000
_OF_A_CONNECTION = 256  # more of them may come back at once, each with what it wants of many cameras
MOST_TOPICS = 5000  # each costs libzmq up to 6 KiB
_SUBSCRIBE, _UNSUBSCRIBE = b"\x01", b"\x00"


class SubscriptionCount:
    """Counts by user id where there are keys (`ask`), else all together (`take`). Used from one thread."""

    def __init__(self) -> None:
        self._topics, self._allowed = 0, MOST_TOPICS
        self._asked: Counter[str] = Counter()  # within this second
        self._wanted: defaultdict[str, set[bytes]] = defaultdict(set)

    def begin_second(self) -> None:
        """To be called each second."""
        self._asked.clear()
        self._allowed = MOST_TOPICS

    def take(self, message: bytes) -> bool:
        """Count what libzmq tells of a topic that is new, or that nobody wants any more; False where it is too much."""
        command = message[:1]
        self._topics += (command == _SUBSCRIBE) - (command == _UNSUBSCRIBE)
        self._asked[""] += 1
        if self._topics <= self._allowed and self._asked[""] <= MOST_IN_A_SECOND:
            return True
        self._asked.clear()
        # whoever it was leaves, and what it had subscribed to with it, but not at once
        self._allowed = self._topics + MOST_TOPICS // 4
        return False

    @property
    def is_far_too_much(self) -> bool:
        """Whether memory is in danger, though somebody was sent away for it."""
        return self._topics > 4 * MOST_TOPICS

    def ask(self, user_id: str, topics: Iterable[bytes], connections: int) -> bool:
        """Count one message of a user, and the topics that it is subscribed to for it; False where it is too much.

        How much is too much in a second depends on how many connections there are: a key may be that of many programs.
        """
        self._asked[user_id] += 1
        wanted = self._wanted[user_id]
        wanted.update(topics)
        most = MOST_IN_A_SECOND + _OF_A_CONNECTION * connections
        return self._asked[user_id] <= most and len(wanted) <= MOST_TOPICS
