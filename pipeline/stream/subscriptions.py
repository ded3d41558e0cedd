"""What of a subscription is granted: the part that lies within a client's cameras."""

from __future__ import annotations

import re
from collections.abc import Iterable

PREFIX = b"vidpipe/1/"
_TOPIC = re.compile(rb"vidpipe/1/[A-Za-z0-9_-]{0,64}(/[a-z]{0,16}/?)?")


def granted(asked: bytes, cameras: Iterable[str] | None) -> list[bytes]:
    """The prefixes to subscribe a client to, who asked for one and may have these cameras (None: all).

    None for what no topic begins with: it would only cost memory.
    """
    if not (PREFIX.startswith(asked) or _TOPIC.fullmatch(asked)):
        return []
    if cameras is None:
        return [asked]
    own = [PREFIX + camera.encode() + b"/" for camera in sorted(cameras)]
    return [asked] if asked.startswith(tuple(own)) else [topics for topics in own if topics.startswith(asked)]


def withdrawn(asked: bytes, cameras: Iterable[str] | None) -> list[bytes]:
    """The prefixes to take from a client that gives back what it asked for.

    A whole camera stays: it may be what is left of a wider subscription, which goes on. The client's own socket drops
    what it did not ask for, and all ends with its connection.
    """
    granted_now = granted(asked, cameras)
    return [topics for topics in granted_now if cameras is None or topics.count(b"/") > PREFIX.count(b"/") + 1]
