"""Resolve the entries of a transfer list to digests: manifests are read from their source, files are hashed.

Nothing is brought: images are asked for their manifests only, and the tars of files are hashed as they would be written
and not kept, so that a lock can be made on a host that was never initialised.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tidegate.depot.descriptors import Descriptor
from tidegate.depot.graph import BlobReader, walk
from tidegate.depot.store import Depot
from tidegate.errors import CollectError, StateError, TidegateError, UsageError
from tidegate.registry.client import RegistryClient
from tidegate.whereabouts import fits_name
from tidegate_sender.collect.files import collect_files
from tidegate_sender.collect.items import FilesItem, ImageItem, Item, LayoutItem
from tidegate_sender.collect.kinds import Brought, SourceItem, lock_digest
from tidegate_sender.collect.layout import read_entry, resolve_layout
from tidegate_sender.collect.lists.lock import Locked, asked_of
from tidegate_sender.collect.looking import HashingSink, Looking
from tidegate_sender.collect.pipeline import ClientFactory
from tidegate_sender.collect.registry import RegistryReader, read_reference, resolve_image

#: called with the number of entries done, of all, and what is worked on
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Renewal:
    """Which locked entries are resolved anew: all, or those whose name fits one of `patterns`."""

    is_all: bool = False
    patterns: tuple[str, ...] = ()

    def concerns(self, locked: Locked) -> bool:
        return self.is_all or any(self.fits(pattern, locked) for pattern in self.patterns)

    @staticmethod
    def fits(pattern: str, locked: Locked) -> bool:
        """By its name as a person types it, or by what the list says."""
        return fits_name(pattern, locked.name) or fits_name(pattern, locked.asked.source)

    def check(self, locked: Sequence[Locked]) -> None:
        """Raises UsageError for a pattern that fits nothing."""
        for pattern in self.patterns:
            if not any(self.fits(pattern, entry) for entry in locked):
                raise UsageError(f"{pattern!r} fits nothing in the list", hint="names stand in the lock file")


def lock_items(
    items: Sequence[Item],
    before: Sequence[Locked],
    renewal: Renewal,
    *,
    client_factory: ClientFactory = RegistryClient,
    progress: Progress = lambda _done, _total, _phase: None,
) -> tuple[Locked, ...]:
    """The lock of `items`: entries of `before` that still are wanted and not renewed stay, the others are resolved.

    Raises CollectError naming everything that could not be resolved: half a lock would be none.
    """
    known = {entry.asked: entry for entry in before}
    resolve = _Resolver(client_factory)
    entries: dict[object, Locked] = {}
    failures = []
    for done, item in enumerate(items):
        asked = asked_of(item)
        if asked in entries:
            continue
        if asked in known and not renewal.concerns(known[asked]):
            entries[asked] = known[asked]
            continue
        progress(done, len(items), f"locking {item.label}")
        try:
            entries[asked] = resolve.item(replace(item, locked=""))
        except StateError:
            raise
        except TidegateError as error:
            failures.append(f"{item.origin}: {item.label}: {error.message}")
    if failures:
        raise CollectError("\n".join(failures), hint="nothing was written")
    locked = tuple(sorted(entries.values(), key=lambda entry: entry.order))
    renewal.check(locked)
    return locked


class _Resolver:
    """Asks one source after another; keeps one client a registry."""

    def __init__(self, client_factory: ClientFactory) -> None:
        self._factory = client_factory
        self._clients: dict[str, RegistryClient] = {}

    def item(self, item: Item) -> Locked:
        if isinstance(item, ImageItem):
            return self._image(item)
        if isinstance(item, LayoutItem):
            name, root, _manifest = read_entry(item, Depot(item.path, create=False))
            _name, chosen, source = resolve_layout(replace(item, locked=root.digest))
            return _locked(item, name, root, source, chosen)
        if isinstance(item, FilesItem):
            result = collect_files(item.path, item.title, HashingSink())
            return Locked(item.name, asked_of(item), result.descriptor.digest, result.size_bytes)
        if isinstance(item, SourceItem):
            found = _look(item, self._client)
            return Locked(found[0].name, asked_of(item), lock_digest(found), sum(one.size_bytes for one in found))
        raise CollectError(f"{item.label}: {type(item).__name__} cannot be locked")

    def _client(self, host: str) -> RegistryClient:
        if host not in self._clients:
            self._clients[host] = self._factory(host)
        return self._clients[host]

    def _image(self, item: ImageItem) -> Locked:
        reader = RegistryReader(self._client(item.reference.registry), item.reference.repository)
        root, _manifest = read_reference(item, reader.client, reader)
        # By digest from here on: a tag that moves between two questions must not give a lock of both.
        chosen = resolve_image(replace(item, locked=root.digest), reader.client, reader)
        return _locked(item, item.reference.name, root, reader, chosen)


def _look(item: SourceItem, client: ClientFactory) -> tuple[Brought, ...]:
    sink = HashingSink()
    return item.bring(sink, Looking(client, sink.small))


def _locked(item: Item, name: str, root: Descriptor, reader: BlobReader, chosen: Descriptor) -> Locked:
    return Locked(name, asked_of(item), root.digest, sum(blob.size for blob in walk(reader, chosen)))
