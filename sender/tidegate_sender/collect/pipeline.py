"""Bring everything that is wanted into the depot, and report what could not be had.

Each item is a commit of its own: it is in the depot whole and named, or not named at all. One that fails does not stop
the others, unless it is required; trouble of this host (full disk, permissions) stops all.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from tidegate.depot.commit import BlobCommit
from tidegate.depot.store import Depot
from tidegate.errors import CollectError, LockDiffersError, NameTakenError, StateError, TidegateError
from tidegate.registry.client import RegistryClient
from tidegate.registry.reference import place_of
from tidegate_sender.collect.fetching import Fetching
from tidegate_sender.collect.files import collect_files
from tidegate_sender.collect.images import bring_image
from tidegate_sender.collect.items import (
    CollectedArtifact,
    CollectFailure,
    CollectReport,
    FilesItem,
    ImageItem,
    Item,
    LayoutItem,
    ProgressCallback,
)
from tidegate_sender.collect.kinds import Brought, SourceItem, lock_digest
from tidegate_sender.collect.layout import collect_layout
from tidegate_sender.collect.registry import keeping_what_came
from tidegate_sender.collect.tags import expand_tags

T = TypeVar("T")
IMAGE_THREADS = 8  # images at a time, most of them waiting; they share the threads of `Fetching`

#: makes the client of a registry's host; tests and later authentication bring their own
ClientFactory = Callable[[str], RegistryClient]


def collect(
    items: Sequence[Item],
    depot: Depot,
    *,
    progress: ProgressCallback = lambda _done, _total, _phase: None,
    client_factory: ClientFactory = RegistryClient,
) -> CollectReport:
    """Collect `items` in order; each is named in the depot under its artifact's name.

    Raises the error of a required item that fails, NameTakenError when two different artifacts fall on one place,
    and what this host's disk raises. Other failures stand in the report.
    """
    depot.remove_abandoned()
    artifacts: dict[str, CollectedArtifact] = {}
    failures: list[CollectFailure] = []
    with _Bringer(depot, client_factory, progress) as bring:
        wanted = [one for item in items for one in _tried(item, failures, partial(expand_tags, item, bring.client))]
        bring.start(wanted)
        for item in wanted:
            for artifact in _tried(item, failures, partial(bring.item, item)):
                _add(artifacts, artifact)
    return CollectReport(tuple(artifacts.values()), tuple(failures))


def _tried(item: Item, failures: list[CollectFailure], call: Callable[[], tuple[T, ...]]) -> tuple[T, ...]:
    """What `call` gives; nothing, and a failure in the list, where it fails and the item is not required."""
    try:
        return call()
    except (StateError, LockDiffersError):
        raise  # what a lock promises is had whole, or nothing is packed
    except TidegateError as error:
        if item.required:
            raise
        failures.append(CollectFailure(item.label, item.origin, with_path_hint(error, item)))
        return ()


def _add(artifacts: dict[str, CollectedArtifact], artifact: CollectedArtifact) -> None:
    """By place; the same artifact asked for twice is one, of both lists, and what either expects goes with it."""
    place = place_of(artifact.name)
    before = artifacts.setdefault(place, artifact)
    if before is not artifact and before.listed != artifact.listed:
        artifacts[place] = replace(before, listed=(*before.listed, *artifact.listed))
    if artifact.expect and not before.expect:
        artifacts[place] = replace(artifacts[place], expect=artifact.expect, verdict=artifact.verdict)
    if (before.name, before.descriptor) != (artifact.name, artifact.descriptor):
        raise NameTakenError(
            f"{artifact.source} and {before.source} would both be {place} on the high side",
            hint="give one of them another name in a transfer list, or send them in two bundles",
        )


def with_path_hint(error: TidegateError, item: Item) -> TidegateError:
    """Whoever names a folder without ``./`` asks a registry for it; say so where the folder is there."""
    if isinstance(item, ImageItem) and item.origin == "command line":
        typed = item.reference.repository.removeprefix("library/")
        if Path(typed).exists():
            error.hint = f"to bring the file or folder {typed}, write ./{typed}"
    return error


class _Bringer:
    """Brings items, several images at a time; keeps one client a registry. Use it in a ``with`` block."""

    def __init__(self, depot: Depot, client_factory: ClientFactory, progress: ProgressCallback) -> None:
        self._depot, self._factory, self._report = depot, client_factory, progress
        self._clients: dict[str, RegistryClient] = {}
        self._lock = threading.RLock()
        self._pool = ThreadPoolExecutor(IMAGE_THREADS, thread_name_prefix="image")
        self._ahead: dict[int, Future[tuple[CollectedArtifact, ...]]] = {}
        self.fetching = Fetching()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for future in self._ahead.values():
            future.cancel()
        self.fetching.__exit__()
        self._pool.shutdown(cancel_futures=True)

    def start(self, items: Sequence[Item]) -> None:
        """Begin with the images among `items`; what one has is kept until it is asked for by `item`."""
        images = [item for item in items if isinstance(item, ImageItem)]
        if len(images) > 1:
            self._ahead = {id(item): self._pool.submit(self._whole_item, item) for item in images}

    def item(self, item: Item) -> tuple[CollectedArtifact, ...]:
        future = self._ahead.pop(id(item), None)
        return self._whole_item(item) if future is None else future.result()

    def _whole_item(self, item: Item) -> tuple[CollectedArtifact, ...]:
        with self._depot.commit(seal=True) as commit:  # what is packed next is compared by its seals
            artifacts = self._bring(item, commit)
            for artifact in artifacts:
                commit.reference(artifact.name, artifact.descriptor)
        return artifacts

    def _progress(self, done: int, total: int, phase: str) -> None:
        with self._lock:
            self._report(done, total, phase)

    def _bring(self, item: Item, commit: BlobCommit) -> tuple[CollectedArtifact, ...]:
        count = _Counter(self._progress, item.label)
        if isinstance(item, FilesItem):
            return (self._files(item, commit, count),)
        if isinstance(item, ImageItem):
            brought, new_bytes = self.image(item, commit, count)
            return _all_collected(item, brought, new_bytes)
        if isinstance(item, LayoutItem):
            return _all_collected(item, *collect_layout(item, commit, progress=count.add))
        if isinstance(item, SourceItem):
            return self._source(item, commit, count)
        raise CollectError(f"{item.label}: nothing here brings {type(item).__name__}")

    def _source(self, item: SourceItem, commit: BlobCommit, count: "_Counter") -> tuple[CollectedArtifact, ...]:
        around = _Surroundings(self, commit, count)
        with keeping_what_came(commit):
            brought = item.bring(commit, around)
        if item.locked and lock_digest(brought) != item.locked:
            raise LockDiffersError(
                f"{item.origin}: {item.label}: is {lock_digest(brought)} now, and locked as {item.locked}"
            )
        return _all_collected(item, brought, commit.new_bytes + around.new_bytes)

    def image(self, item: ImageItem, commit: BlobCommit, count: "_Counter") -> tuple[tuple[Brought, ...], int]:
        client = self.client(item.reference.registry)
        return bring_image(item, client, commit, self.fetching, progress=count.add)

    def _files(self, item: FilesItem, commit: BlobCommit, count: "_Counter") -> CollectedArtifact:
        name = item.name
        result = collect_files(item.path, item.title, commit, progress=count.add_unbounded)
        if item.locked and result.descriptor.digest != item.locked:
            raise LockDiffersError(
                f"{item.origin}: {item.label}: is {result.descriptor.digest} now, and locked as {item.locked}"
            )
        return CollectedArtifact(
            name=name,
            kind="files",
            descriptor=result.descriptor,
            source=item.label,
            size_bytes=result.size_bytes,
            new_bytes=commit.new_bytes,
            ticket=item.ticket,
            justification=item.justification,
            skipped=result.skipped,
            load=item.load,
            listed=item.listed,
        )

    def client(self, host: str) -> RegistryClient:
        with self._lock:
            if host not in self._clients:
                self._clients[host] = self._factory(host)
            return self._clients[host]


def _collected(item: Item, brought: Brought, new_bytes: int) -> CollectedArtifact:
    return CollectedArtifact(
        name=brought.name,
        kind=brought.kind,
        descriptor=brought.root,
        source=item.label,
        size_bytes=brought.size_bytes,
        new_bytes=new_bytes,
        ticket=item.ticket,
        justification=item.justification,
        load=item.load,
        listed=item.listed,
        notes=brought.notes,
        expect=brought.expect,
        verdict=brought.verdict,
    )


def _all_collected(item: Item, brought: tuple[Brought, ...], new_bytes: int) -> tuple[CollectedArtifact, ...]:
    """What came new is counted at the first: nobody fetched it for one of them alone."""
    return tuple(_collected(item, one, new_bytes if number == 0 else 0) for number, one in enumerate(brought))


class _Surroundings:
    """What the pipeline lends to a source of a further kind."""

    def __init__(self, bringer: _Bringer, commit: BlobCommit, count: "_Counter") -> None:
        self._bringer, self._commit, self._count = bringer, commit, count
        self.new_bytes = 0

    def client(self, host: str) -> RegistryClient:
        return self._bringer.client(host)

    def image(self, item: ImageItem) -> tuple[Brought, ...]:
        brought, _new_bytes = self._bringer.image(item, self._commit, self._count)
        return brought

    def progress(self, count: int, total: int) -> None:
        self._count.add(count, total)


class _Counter:
    """Adds up what several threads report about one item."""

    def __init__(self, progress: ProgressCallback, label: str) -> None:
        self._progress, self._phase = progress, f"collecting {label}"
        self._done = 0
        self._lock = threading.Lock()

    def add(self, count: int, total: int) -> None:
        with self._lock:
            self._done += count
            self._progress(self._done, total, self._phase)

    def add_unbounded(self, count: int) -> None:
        self.add(count, 0)
