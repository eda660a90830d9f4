"""What is wanted and what came of it: items of a command line or transfer list, collected artifacts, failures."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tidegate.depot.descriptors import Descriptor
from tidegate.errors import TidegateError
from tidegate.provenance.expectation import Expectation
from tidegate.registry.reference import Reference, files_name

#: called with (bytes done, bytes in all or 0 where nobody knows yet, what is worked on)
ProgressCallback = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that is wanted, and what its request says.

    `origin`: the command line, or a line of a transfer list. `given`: the path as a list has it, which does not depend
    on where the list lies. `listed`: the list that asks for it, by its name or file; empty on a command line. `locked`:
    the digest that a lock file holds the item to (`lock`), empty where there is none; `locked_name`: what its artifact
    was called then. `load`: where the high side is asked to put it.
    """

    required: bool = False
    ticket: str = ""
    justification: str = ""
    origin: str = "command line"
    given: str = ""
    locked: str = ""
    locked_name: str = ""
    load: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """How messages call it."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageItem(Item):
    """An image, or any other artifact with a reference, in a registry, with what belongs to it.

    With `tags` it stands for all tags that fit (`tags` module), of which `newest` keeps the highest versions. `sboms`
    are local files that are attached; `expect` is what must belong to it.
    """

    reference: Reference
    platforms: tuple[str, ...] = ()
    attachments: bool = True
    tags: tuple[str, ...] = ()
    newest: int = 0
    sboms: tuple[Path, ...] = ()
    expect: Expectation | None = None

    @property
    def label(self) -> str:
        if self.tags:
            newest = f", newest {self.newest}" if self.newest else ""
            return f"{self.reference.registry}/{self.reference.repository}:[{', '.join(self.tags)}{newest}]"
        return str(self.reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutItem(Item):
    """An image in an OCI layout folder, by its `tag` there (empty: the only one), with what belongs to it there."""

    path: Path
    tag: str = ""
    name: str = ""
    platforms: tuple[str, ...] = ()
    attachments: bool = True
    sboms: tuple[Path, ...] = ()
    expect: Expectation | None = None

    @property
    def label(self) -> str:
        return f"oci:{self.path}" + (f":{self.tag}" if self.tag else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesItem(Item):
    """A folder or a single file; `title` is the name it goes by."""

    path: Path
    title: str

    @property
    def label(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        return files_name(self.title)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedArtifact:
    """An artifact in the depot. Its `descriptor` carries the annotations that go into a bundle's manifest.

    `size_bytes` adds up its blobs, `new_bytes` those that were not in the depot; `skipped` lists entries of a folder
    that a tree cannot carry (sockets, FIFOs, devices); `notes` says what could not be found out,
    `verdict` what was found of its signatures where some were expected; `expect` is what travels of that.
    """

    name: str
    kind: str
    descriptor: Descriptor
    source: str
    size_bytes: int
    new_bytes: int
    ticket: str = ""
    justification: str = ""
    skipped: tuple[str, ...] = ()
    load: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    expect: str = ""
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class CollectFailure:
    """An item that could not be had, and why."""

    label: str
    origin: str
    error: TidegateError

    @property
    def text(self) -> str:
        """``localhost:5000/app:9: HTTP 404 …``: errors begin with host and image, which the label says already."""
        text = self.error.message
        while True:
            head, colon, rest = text.partition(": ")
            if not colon or head not in self.label:
                return f"{self.label}: {text}"
            text = rest


@dataclass(frozen=True, slots=True)
class CollectReport:
    """What a collection brought, in the order asked for, and what it could not."""

    artifacts: tuple[CollectedArtifact, ...]
    failures: tuple[CollectFailure, ...] = ()
