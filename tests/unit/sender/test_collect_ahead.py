"""Blobs that are fetched while more of an image is looked for: waited for, or given up."""

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tidegate.depot.commit import BlobCommit
from tidegate.depot.descriptors import Descriptor
from tidegate.depot.store import Depot
from tidegate.errors import GraphError, RegistryError
from tidegate_sender.collect.fetching import Ahead, Fetching

DATA = b"layer" * 1000
BLOB = Descriptor("application/octet-stream", f"sha256:{hashlib.sha256(DATA).hexdigest()}", len(DATA))


class SlowClient:
    """A registry that gives a blob piece by piece for as long as it is let."""

    host = "slow.example"

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.has_begun = threading.Event()
        self.pieces = 0

    def fetch_blob(self, _repository: str, _digest: str, size: int, write: Callable[[bytes], object]) -> None:
        self.has_begun.set()
        self.goes_on.wait(30)
        for at in range(0, size, 1000):
            write(DATA[at : at + 1000])
            self.pieces += 1


class FailingClient:
    host = "failing.example"

    def fetch_blob(self, *_: object) -> None:
        raise RegistryError("gone")


@pytest.fixture
def depot(tmp_path: Path) -> Depot:
    return Depot(tmp_path / "depot")


def fetch_ahead(fetching: Fetching, client: object, commit: BlobCommit) -> None:
    with fetching.ahead() as ahead:
        begin(ahead, fetching, client, commit)


def begin(ahead: Ahead, fetching: Fetching, client: object, commit: BlobCommit) -> None:
    ahead.begin(
        lambda stop: fetching.fetch([BLOB], client, "r", commit, lambda _count: None, {}, stop)  # type: ignore[arg-type]
    )


def test_the_block_ends_when_the_blobs_are_there(depot: Depot) -> None:
    client = SlowClient()
    with Fetching() as fetching, depot.commit() as commit:
        threading.Timer(0.1, client.goes_on.set).start()
        fetch_ahead(fetching, client, commit)
        assert commit.has(BLOB.digest, BLOB.size)


def test_what_a_fetch_came_to_is_raised_at_the_end_of_the_block(depot: Depot) -> None:
    with Fetching() as fetching, depot.commit() as commit, pytest.raises(RegistryError, match="gone"):
        fetch_ahead(fetching, FailingClient(), commit)


def test_a_block_that_fails_gives_its_fetches_up_and_nothing_writes_afterwards(depot: Depot) -> None:
    client = SlowClient()
    with Fetching() as fetching, depot.commit() as commit:
        with pytest.raises(GraphError, match="a cycle"), fetching.ahead() as ahead:
            begin(ahead, fetching, client, commit)
            assert client.has_begun.wait(10)
            threading.Timer(0.1, client.goes_on.set).start()
            raise GraphError("a cycle")
        written = client.pieces
        time.sleep(0.05)
        assert client.pieces == written == 0
        assert not commit.has(BLOB.digest)
