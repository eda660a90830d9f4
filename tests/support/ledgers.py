"""Ledgers for tests: a root's state and log, and a tree computed the slow, obvious way."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tidegate.ledger.entries import Event, entry
from tidegate.ledger.recorder import Recorder
from tidegate.state.db import State
from tidegate.trust.keys import FileSigner

ORIGIN = "plant/low"
SIGNER = FileSigner(bytes(range(32)), "low-host")


@dataclass(frozen=True)
class Desk:
    """State and log of one side, as a command finds them."""

    root: Path
    state: State
    recorder: Recorder

    def __enter__(self) -> "Desk":
        return self

    def __exit__(self, *_: object) -> None:
        self.state.close()

    @property
    def folder(self) -> Path:
        return self.root / "ledger"

    def queue(self, count: int, subject: str = "7f3a-0001") -> list[str]:
        with self.state.transaction() as tx:
            return [tx.queue(entry(Event.PACK, subject=subject, step="pack")) for _ in range(count)]

    def record(self, count: int) -> list[str]:
        events = self.queue(count)
        assert self.recorder.drain() == count
        return events


def open_desk(root: Path, *, wait_seconds: float = 0.2) -> Desk:
    (root / "ledger").mkdir(parents=True, exist_ok=True)
    state = State(root / "state.db")
    return Desk(root, state, Recorder(root / "ledger", state, SIGNER, ORIGIN, wait_seconds=wait_seconds))


def slow_root(entries: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\0" + entries[0]).digest()
    half = 1
    while half * 2 < len(entries):
        half *= 2
    return hashlib.sha256(b"\1" + slow_root(entries[:half]) + slow_root(entries[half:])).digest()
