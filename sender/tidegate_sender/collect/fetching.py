"""Fetch blobs from registries, several at a time, each once however many images ask for it at the same moment.

All images of a collection share the threads: some fetch blobs, some ask for manifests, so that what an image consists
of is known while another's blobs are on their way; and what belongs to an image is looked for while its own blobs are
(`ahead`). A blob that another image is fetching is waited for, after one's own are in the depot: so two images that
wait for each other both find what they need.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Self

from tidegate.depot.commit import BlobCommit
from tidegate.depot.descriptors import Descriptor
from tidegate.errors import BlobDamagedError, RegistryError, RegistryLiesError
from tidegate.registry.client import RegistryClient
from tidegate.units import GIB

FETCH_THREADS = 4
ASK_THREADS = 4
AHEAD_THREADS = 8  # they only wait for those that fetch
_COMMIT_BYTES = 1 * GIB  # a killed process loses at most so much of what it fetched

Progress = Callable[[int], object]


class Fetching:
    """The threads of one collection, and who fetches what; use it in a ``with`` block."""

    def __init__(self, threads: int = FETCH_THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="fetch")
        self._asking = ThreadPoolExecutor(ASK_THREADS, thread_name_prefix="ask")
        self._ahead = ThreadPoolExecutor(AHEAD_THREADS, thread_name_prefix="ahead")
        self._lock = threading.Lock()
        self._under_way: dict[str, threading.Event] = {}
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._asking.shutdown(cancel_futures=True)
        self._ahead.shutdown(cancel_futures=True)
        self._pool.shutdown(cancel_futures=True)

    def map(self, call: Callable[..., object], items: Iterable[object]) -> Iterator[object]:
        """`call` for each of `items` by the threads that ask, in order. Not for what itself maps."""
        return self._asking.map(call, items)

    @contextmanager
    def ahead(self) -> Iterator["Ahead"]:
        """Let fetches run beside the block; at its end they are waited for, or given up where it failed."""
        begun = Ahead(self._ahead)
        try:
            yield begun
        except BaseException:
            begun.give_up()
            raise
        begun.wait()

    def fetch(
        self,
        wanted: Iterable[Descriptor],
        client: RegistryClient,
        repository: str,
        commit: BlobCommit,
        progress: Progress,
        known: Mapping[str, bytes] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Bring `wanted` into `commit`; those of `known` are at hand. Raises RegistryError and its children.

        Who sets `stop` ends it with an error.
        """
        stop = stop or threading.Event()
        rest = {blob.digest: blob for blob in wanted if not commit.has(blob.digest, blob.size)}
        for digest in [digest for digest in rest if known is not None and digest in known]:
            commit.add((known or {})[digest])
            progress(rest.pop(digest).size)
        while rest:
            mine, others = self._claim(rest)
            with self._claimed(mine):
                self._fetch_all([rest[digest] for digest in mine], client, repository, commit, progress, stop)
                if mine and others:
                    commit.commit()  # before anybody is told that they are there
            for digest, event in others.items():
                while not event.wait(0.2):
                    self._check_goes_on(digest)
                    _check_not_given_up(digest, stop)
            rest = {digest: rest[digest] for digest in others if not commit.has(digest, rest[digest].size)}

    def _claim(self, wanted: Mapping[str, Descriptor]) -> tuple[list[str], dict[str, threading.Event]]:
        with self._lock:
            others = {digest: self._under_way[digest] for digest in wanted if digest in self._under_way}
            mine = [digest for digest in wanted if digest not in others]
            self._under_way.update({digest: threading.Event() for digest in mine})
        return mine, others

    @contextmanager
    def _claimed(self, mine: list[str]) -> Iterator[None]:
        try:
            yield
        finally:
            with self._lock:
                events = [self._under_way.pop(digest) for digest in mine]
            for event in events:
                event.set()

    def _fetch_all(
        self,
        blobs: list[Descriptor],
        client: RegistryClient,
        repository: str,
        commit: BlobCommit,
        progress: Progress,
        stop: threading.Event,
    ) -> None:
        held = 0
        # The largest first: what is left to the end is short.
        ordered = sorted(blobs, key=lambda blob: -blob.size)
        fetches = {
            self._pool.submit(self._fetch_blob, blob, client, repository, commit, progress, stop): blob
            for blob in ordered
        }
        try:
            for done in as_completed(fetches):
                done.result()
                held += fetches[done].size
                if held >= _COMMIT_BYTES:
                    commit.commit()
                    held = 0
        except BaseException:
            stop.set()
            raise
        finally:
            for fetch in fetches:
                fetch.cancel()
            for fetch in fetches:  # nobody writes into a commit that its owner has left
                if not fetch.cancelled():
                    fetch.exception()

    def _fetch_blob(
        self,
        blob: Descriptor,
        client: RegistryClient,
        repository: str,
        commit: BlobCommit,
        progress: Progress,
        stop: threading.Event,
    ) -> None:
        def write(piece: bytes) -> None:
            _check_not_given_up(blob.digest, stop)
            self._check_goes_on(blob.digest)
            writer.write(piece)
            progress(len(piece))

        try:
            with commit.writer(blob.digest, blob.size) as writer:
                client.fetch_blob(repository, blob.digest, blob.size, write)
                writer.finish()
        except BlobDamagedError as error:
            raise RegistryLiesError(f"{client.host}: {repository}: {error.message}") from None

    def _check_goes_on(self, digest: str) -> None:
        if self._ended.is_set():
            raise RegistryError(f"{digest}: given up, since the collection ended")


class Ahead:
    """Fetches of one image that run while more of it is looked for."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads
        self._stop = threading.Event()
        self._running: list[Future[None]] = []

    def begin(self, fetch: Callable[[threading.Event], None]) -> None:
        """Call `fetch` in another thread, with the event that gives it up (`stop` of `Fetching.fetch`)."""
        self._running.append(self._threads.submit(fetch, self._stop))

    def wait(self) -> None:
        """Raises what a fetch came to."""
        for running in self._running:
            running.result()

    def give_up(self) -> None:
        """End soon what was begun; nothing of it writes afterwards."""
        self._stop.set()
        for running in self._running:
            if not running.cancel():
                running.exception()


def _check_not_given_up(digest: str, stop: threading.Event) -> None:
    if stop.is_set():
        raise RegistryError(f"{digest}: given up, since another part of it failed")
