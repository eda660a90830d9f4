"""Bring a folder or a file into the depot as an artifact: deterministic tars, and a manifest over them.

Files are read straight into a buffer that is hashed and written; two tars are in work at a time, since hashing leaves
the interpreter free. Never a whole file in memory. Bytes: docs/format/content.md.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

from tidegate.canonical import dumps
from tidegate.depot.descriptors import Descriptor
from tidegate.depot.graph import BlobReader, walk
from tidegate.errors import CollectError, SourceChangedError, UsageError
from tidegate.oci import (
    EMPTY_BYTES,
    FILES_BYTES,
    FILES_ENTRIES,
    FILES_TYPE,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER_TAR,
    OCI_MANIFEST,
    TITLE,
)
from tidegate.units import MIB
from tidegate_sender.collect.tar import BLOCK, END_BYTES, Member, MemberKind, header
from tidegate_sender.collect.tree import TAR_MAX_BYTES, TarPlan, Tree, source_error

MANIFEST_SPLIT_BYTES = 3 * MIB  # registries refuse more than 4
_BUFFER_BYTES = 1 * MIB
_WORKERS = 2
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # no link, and no FIFO, put in a file's place


@dataclass(frozen=True, slots=True)
class FilesResult:
    """A collected tree: its root blob, counts over it, and what was left out (sockets, FIFOs, devices).

    `content_bytes` adds up the files, `size_bytes` the blobs of the artifact.
    """

    descriptor: Descriptor
    entries: int
    content_bytes: int
    size_bytes: int
    skipped: tuple[str, ...]


class SinkWriter(Protocol):
    """Takes the bytes of one blob; closing it without `finish` drops them."""

    def write(self, data: bytes | bytearray | memoryview) -> None: ...
    def finish(self) -> Descriptor: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: object, error: object, trace: object) -> None: ...


class BlobSink(BlobReader, Protocol):
    """Where blobs of a tree go: a commit of the depot, or hashes only where a lock is made. Used by several threads."""

    def writer(self, expected_digest: str | None = None, expected_size: int | None = None) -> SinkWriter: ...
    def add(self, data: bytes, media_type: str) -> Descriptor: ...


def title_of(path: Path) -> str:
    """The base name of what a person named, also for ``.`` and ``docs/``. Raises UsageError for ``/``."""
    name = path.name if path.name not in {"", ".", ".."} else path.resolve().name
    if not name:
        raise UsageError(f"{path} has no name of its own: give it one in a transfer list")
    return name


def collect_files(
    path: Path,
    title: str,
    commit: BlobSink,
    *,
    progress: Callable[[int], object] = lambda _count: None,
    tar_max_bytes: int = TAR_MAX_BYTES,
    manifest_max_bytes: int = MANIFEST_SPLIT_BYTES,
) -> FilesResult:
    """Write the tree at `path` into `commit`. `progress` gets bytes since its last call, from several threads.

    A link that is named itself is followed. Raises SourceChangedError, CollectError, and errors of the depot's disk.
    """
    if not path.exists():
        raise CollectError(f"{path}: no such file or folder")
    tree = Tree(os.fsencode(path.resolve()), title.encode())
    layers: list[Descriptor] = []
    entries = content_bytes = 0
    for plan, layer in _write_tars(tree, commit, progress, tar_max_bytes):
        name = f"{title}.{len(layers) + 1:05d}.tar"
        layers.append(replace(layer, media_type=OCI_LAYER_TAR, annotations={TITLE: name}))
        entries += len(plan.members)
        content_bytes += sum(member.size for member in plan.members)
    counts = {FILES_ENTRIES: str(entries), FILES_BYTES: str(content_bytes)}
    descriptor = _write_manifest(commit, title, layers, counts, manifest_max_bytes)
    size_bytes = sum(blob.size for blob in walk(commit, descriptor))
    return FilesResult(descriptor, entries, content_bytes, size_bytes, tuple(map(os.fsdecode, tree.skipped)))


def _write_tars(
    tree: Tree, commit: BlobSink, progress: Callable[[int], object], tar_max_bytes: int
) -> Iterator[tuple[TarPlan, Descriptor]]:
    """Every tar with its descriptor, in order; a few are in work at a time.

    They take turns where small files are looked at and read, and work side by side where a full buffer is hashed and
    written: threads that make short calls together hand the interpreter to and fro, and spend half as much on that.
    """
    under_way: deque[tuple[TarPlan, Future[Descriptor]]] = deque()
    stop, turn = threading.Event(), threading.Lock()
    plans = tree.tars(max_bytes=tar_max_bytes)
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="tar") as pool:
        try:
            while (plan := _next_plan(plans, turn)) is not None:
                under_way.append((plan, pool.submit(_write_tar, tree, plan, commit, progress, stop, turn)))
                if len(under_way) > _WORKERS:
                    first, future = under_way.popleft()
                    yield first, future.result()
            while under_way:
                first, future = under_way.popleft()
                yield first, future.result()
        finally:
            # After a failure the others stop at their next buffer, instead of writing what nobody will use.
            stop.set()


def _next_plan(plans: Iterator[TarPlan], turn: threading.Lock) -> TarPlan | None:
    with turn:
        return next(plans, None)


def _write_tar(
    tree: Tree,
    plan: TarPlan,
    commit: BlobSink,
    progress: Callable[[int], object],
    stop: threading.Event,
    turn: threading.Lock,
) -> Descriptor:
    with turn, commit.writer(expected_size=plan.length) as writer:
        tar = _TarWriter(writer, progress, stop, turn)
        for member in plan.members:
            tar.put(header(member))
            if member.kind is MemberKind.FILE:
                tar.put_file(tree.source(member), member)
        tar.put(bytes(END_BYTES))
        tar.flush()
        return writer.finish()


class _TarWriter:
    """Gathers headers and contents in one buffer, so that small files cost no write of their own.

    Whoever uses it holds `turn`, which is given up while a full buffer is hashed and written.
    """

    def __init__(
        self, writer: SinkWriter, progress: Callable[[int], object], stop: threading.Event, turn: threading.Lock
    ) -> None:
        self._writer, self._progress, self._stop, self._turn = writer, progress, stop, turn
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._used = 0

    def put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            space = self._space()
            count = min(len(view), len(space))
            space[:count] = view[:count]
            self._used += count
            view = view[count:]

    def put_file(self, path: bytes, member: Member) -> None:
        """The content of a file, filled to whole blocks. Raises SourceChangedError when it is not what was found."""
        try:
            fd = os.open(path, _OPEN)
        except OSError as error:
            raise source_error(error, path) from None
        try:
            _compare(os.fstat(fd), member, path)
            rest = member.size
            while rest:
                count = _read(fd, self._space()[:rest], path)
                if not count:
                    raise SourceChangedError(f"{os.fsdecode(path)}: became shorter while it was read")
                self._used += count
                rest -= count
            _compare(os.fstat(fd), member, path)
        finally:
            os.close(fd)
        self.put(bytes(-member.size % BLOCK))

    def _space(self) -> memoryview:
        if self._used == len(self._buffer):
            self.flush()
        return self._buffer[self._used :]

    def flush(self) -> None:
        if self._stop.is_set():
            raise CollectError("given up, since another part of the tree failed")
        self._turn.release()
        try:
            self._writer.write(self._buffer[: self._used])
        finally:
            self._turn.acquire()
        self._progress(self._used)
        self._used = 0


def _read(fd: int, space: memoryview, path: bytes) -> int:
    try:
        return os.readv(fd, [space])
    except OSError as error:
        raise source_error(error, path) from None


def _compare(status: os.stat_result, member: Member, path: bytes) -> None:
    found = (status.st_ino, status.st_size, status.st_mtime_ns)
    if found != (member.inode, member.size, member.mtime_ns):
        was = f"{member.size} bytes when it was found, {status.st_size} now"
        raise SourceChangedError(f"{os.fsdecode(path)}: changed while it was read ({was})")


def _write_manifest(
    commit: BlobSink, title: str, layers: list[Descriptor], counts: dict[str, str], max_bytes: int
) -> Descriptor:
    """The manifest of the tree, or, where that would be too long, an index of manifests (C-9)."""
    config = commit.add(EMPTY_BYTES, OCI_EMPTY)
    whole = _manifest_bytes(title, config, layers, counts)
    if len(whole) <= max_bytes:
        return replace(commit.add(whole, OCI_MANIFEST), artifact_type=FILES_TYPE)
    children = []
    for part in _split(title, config, layers, max_bytes):
        child = commit.add(_manifest_bytes(title, config, part, {}), OCI_MANIFEST)
        children.append(replace(child, artifact_type=FILES_TYPE).to_json())
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "artifactType": FILES_TYPE,
        "annotations": {TITLE: title, **counts},
        "manifests": children,
    }
    return replace(commit.add(dumps(index), OCI_INDEX), artifact_type=FILES_TYPE)


def _split(title: str, config: Descriptor, layers: list[Descriptor], max_bytes: int) -> Iterator[list[Descriptor]]:
    """The layers in order, as many in each part as keep its manifest within `max_bytes`, at least one."""
    empty = len(_manifest_bytes(title, config, [], {}))
    part: list[Descriptor] = []
    length = empty
    for layer in layers:
        added = len(dumps(layer.to_json())) + (1 if part else 0)  # a comma before all but the first
        if part and length + added > max_bytes:
            yield part
            part, length = [], empty
            added -= 1
        part.append(layer)
        length += added
    yield part


def _manifest_bytes(title: str, config: Descriptor, layers: list[Descriptor], counts: dict[str, str]) -> bytes:
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": FILES_TYPE,
        "config": config.to_json(),
        "layers": [layer.to_json() for layer in layers],
        "annotations": {TITLE: title, **counts},
    }
    return dumps(manifest)
