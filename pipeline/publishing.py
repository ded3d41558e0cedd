"""All that predictions go out by: the publisher, the journal of what it sent, and the endpoint that replays it."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.stream.archive import Limits
from pipeline.stream.door import MOST_CONNECTIONS
from pipeline.stream.journal import Journal
from pipeline.stream.publisher import Publisher
from pipeline.stream.replay_server import ReplayServer

if TYPE_CHECKING:
    from pipeline.config.schema import Config, Publish
    from pipeline.keys.server import ServerKeys


_OWN_FILES = 128
_FILES_OF_A_CAMERA = 16  # while one capture process goes and the next one comes
_FEWEST_CONNECTIONS = 16


@dataclass(frozen=True)
class Publishing:
    """An open publisher; without a replay endpoint there is no journal, since nobody could ask for what it keeps."""

    publisher: Publisher
    replay: ReplayServer | None
    journal: Journal | None

    @property
    def connections_ended(self) -> int:
        """Connections that had to leave so far, since there were too many or they asked for too much."""
        return self.publisher.sent_away + (self.replay.tally.sent_away if self.replay else 0)

    @property
    def connection_alarm(self) -> str:
        """One sentence while connections have to leave; else empty."""
        return self.publisher.alarm or (self.replay.alarm if self.replay else "")


@contextmanager
def open_publishing(
    config: Config, folder: Path, epoch: int, *, keys: ServerKeys | None, insecure: bool
) -> Iterator[Publishing]:
    """Bind what the configuration says, and keep the journal in `folder`.

    Raises:
        StreamError: an address is taken, cannot be bound, or is open to others with neither `keys` nor `insecure`.
    """
    publish = config.publish
    most = most_connections(len(config.cameras))
    with ExitStack() as stack:
        replay = None
        if publish.replay != "off":
            replay = stack.enter_context(_replay(publish, most, keys, insecure=insecure))
        publisher = stack.enter_context(
            Publisher(
                publish.bind,
                epoch=epoch,
                wire=publish.format,
                insecure=insecure,
                keys=keys,
                replay=replay.announced if replay else "",
                most=most,
            )
        )
        journal = None
        if replay is not None:
            limits = Limits(publish.journal.max_age_s, publish.journal.max_mb)
            journal = stack.enter_context(Journal(folder / "journal.sqlite", epoch, limits, server=replay))
            publisher.sink = journal.record
        yield Publishing(publisher, replay, journal)


def most_connections(cameras: int) -> int:
    """How many connections publisher and replay may have each, so that descriptors are left for every camera."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    left = limit - _OWN_FILES - _FILES_OF_A_CAMERA * cameras
    return max(_FEWEST_CONNECTIONS, min(MOST_CONNECTIONS, left // 2))


def _replay(publish: Publish, most: int, keys: ServerKeys | None, *, insecure: bool) -> ReplayServer:
    if keys is not None:
        return ReplayServer(publish.replay, publish.bind, secure=keys.secure, allowed=keys.allowed, most=most)
    return ReplayServer(publish.replay, publish.bind, insecure=insecure, most=most)
