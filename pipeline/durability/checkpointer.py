"""The checkpointer: takes records from the hot path and writes them in a thread of its own, whatever the disk does."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from pipeline.durability.files import CheckpointFiles
from pipeline.durability.format import encode_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from pipeline.durability.records import Checkpoint

_log = logging.getLogger(__name__)
_SYNC_S = 10.0  # a sync costs 8 ms a file, and only a power failure asks for it
_LATE_S = 5.0
_LATE_INTERVALS = 3
_CLOSE_S = 2.0


class Checkpointer:
    """Writes checkpoints into a folder, at most one round at a time: what a slow disk misses is replaced by newer ones.

    Nothing here raises for the sake of a disk. `alarm` says what is wrong, and what failed is tried again until it
    succeeds. A context manager: leaving it writes the last records and syncs them.
    """

    def __init__(self, folder: Path, every_s: float) -> None:
        self.every_s = every_s
        self._files = CheckpointFiles(folder)
        self._lock = threading.Condition()
        self._waiting: dict[str, Checkpoint] = {}
        self._busy = self._closing = False
        self._next_s = 0.0
        self._done_s = self._synced_s = time.monotonic()
        self._unsynced: set[str] = set()
        self._fault = self._sync_fault = ""
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def due(self, now_s: float) -> bool:
        """Whether the next checkpoints should be taken at the monotonic time `now_s`."""
        return now_s >= self._next_s

    def save(self, records: Iterable[Checkpoint]) -> None:
        """Hand records over; costs microseconds, and never waits for the disk."""
        newest = {record.camera: record for record in records}
        now_s = time.monotonic()
        self._next_s = now_s + self.every_s
        with self._lock:
            if not self._waiting and not self._busy:
                # all was written until now, or no camera has anything new
                self._done_s = now_s
            self._waiting.update(newest)
            self._lock.notify()

    @property
    def age_s(self) -> float:
        """Seconds since everything that was handed over was in its files."""
        return time.monotonic() - self._done_s

    @property
    def alarm(self) -> str:
        """What keeps the checkpoints from being written; empty where all is well."""
        if self._fault:
            return f"checkpoints cannot be written: {self._fault}"
        if self._sync_fault:
            return f"checkpoints would not survive a power failure: {self._sync_fault}"
        if not self._thread.is_alive() and not self._closing:
            return "checkpoints are not written: their thread has ended"
        late_s = self.age_s
        if (self._waiting or self._busy) and late_s > max(_LATE_S, _LATE_INTERVALS * self.every_s):
            return f"checkpoints are {late_s:.0f} s late: the disk is slow"
        return ""

    def close(self) -> None:
        """Write what is left, bring it onto the disk, and end; a disk that hangs is not waited for."""
        with self._lock:
            self._closing = True
            self._lock.notify()
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            _log.warning("the last checkpoints were not written: the disk did not answer within %.0f s", _CLOSE_S)
        elif self._fault:
            _log.warning("the last checkpoints were not written to %s: %s", self._files.folder, self._fault)

    def __enter__(self) -> Checkpointer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        closing = False
        while not closing:
            with self._lock:
                self._busy = False
                self._lock.wait_for(lambda: self._waiting or self._closing)
                if self._fault and not self._closing:
                    # once more with the next records, or after as long
                    self._lock.wait(self.every_s)
                records, self._waiting = self._waiting, {}
                self._busy, closing = True, self._closing
            self._write(records)
            if self._unsynced and (closing or time.monotonic() - self._synced_s >= _SYNC_S):
                self._sync()

    def _write(self, records: dict[str, Checkpoint]) -> None:
        fault = ""
        for camera, record in records.items():
            try:
                self._files.write(camera, encode_checkpoint(record))
                self._unsynced.add(camera)
            except OSError as error:
                fault = error.strerror or type(error).__name__
                with self._lock:
                    self._waiting.setdefault(camera, record)
        self._fault = fault
        if not fault:
            self._done_s = time.monotonic()

    def _sync(self) -> None:
        fault = ""
        try:
            for camera in self._unsynced:
                self._files.sync(camera)
            self._files.sync_names()
        except OSError as error:
            fault = error.strerror or type(error).__name__
        self._sync_fault = fault
        self._unsynced.clear()
        self._synced_s = time.monotonic()
