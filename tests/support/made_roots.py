"""A low side in a temporary folder, with artifacts in its depot: what the tests of packing begin with."""

import random
from dataclasses import dataclass
from pathlib import Path

from content import add_files, tar_of

from tidegate.config import Role
from tidegate.depot.descriptors import Descriptor
from tidegate.initialisation import initialise
from tidegate.workspace import Workspace


@dataclass(frozen=True, slots=True)
class WantedArtifact:
    """What packing asks of an artifact."""

    name: str
    kind: str
    descriptor: Descriptor
    ticket: str = ""
    justification: str = ""


def low_side(folder: Path, *, sites: tuple[str, ...] = ("plant-7",)) -> Workspace:
    """An initialised low side of the channel ``plant``."""
    initialise(folder, Role.LOW, channel="plant", sites=sites, holder="ann", passphrase=None)
    return Workspace.open(folder)


def noise(size: int, seed: int) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def files_artifact(workspace: Workspace, title: str, *contents: bytes) -> WantedArtifact:
    """A files artifact ``files/<title>`` with one tar for each of `contents`."""
    tars = [tar_of({f"file{number}": data}) for number, data in enumerate(contents)]
    return WantedArtifact(f"files/{title}", "files", add_files(workspace.depot, title, tars))
