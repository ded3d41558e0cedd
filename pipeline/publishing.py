"""All that predictions go out by: the publisher, the journal of what it sent, and the endpoint that replays it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.stream.archive import Limits
from pipeline.stream.journal import Journal
from pipeline.stream.publisher import Publisher
from pipeline.stream.replay_server import ReplayServer

if TYPE_CHECKING:
    from pipeline.config.schema import Config, Publish
    from pipeline.keys.server import ServerKeys


@dataclass(frozen=True)
class Publishing:
    """An open publisher; without a replay endpoint there is no journal, since nobody could ask for what it keeps."""

    publisher: Publisher
    journal: Journal | None


@contextmanager
def open_publishing(
    config: Config, folder: Path, epoch: int, *, keys: ServerKeys | None, insecure: bool
) -> Iterator[Publishing]:
    """Bind what the configuration says, and keep the journal in `folder`.

    Raises:
        StreamError: an address is taken, cannot be bound, or is open to others with neither `keys` nor `insecure`.
    """
    publish = config.publish
    with ExitStack() as stack:
        replay = None if publish.replay == "off" else stack.enter_context(_replay(publish, keys, insecure=insecure))
        publisher = stack.enter_context(
            Publisher(
                publish.bind,
                epoch=epoch,
                wire=publish.format,
                insecure=insecure,
                keys=keys,
                replay=replay.announced if replay else "",
            )
        )
        journal = None
        if replay is not None:
            limits = Limits(publish.journal.max_age_s, publish.journal.max_mb)
            journal = stack.enter_context(Journal(folder / "journal.sqlite", epoch, limits, server=replay))
            publisher.sink = journal.record
        yield Publishing(publisher, journal)


def _replay(publish: Publish, keys: ServerKeys | None, *, insecure: bool) -> ReplayServer:
    if keys is not None:
        return ReplayServer(publish.replay, publish.bind, secure=keys.secure, allowed=keys.allowed)
    return ReplayServer(publish.replay, publish.bind, insecure=insecure)
