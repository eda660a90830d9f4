"""Old and new names at one target, from what this site remembers of its loads."""

from collections.abc import Iterable
from dataclasses import dataclass

from tidegate.provenance.expectation import parse_expectation
from tidegate.provenance.keys import PublicKey
from tidegate.registry.reference import Reference, parse_reference, split_place
from tidegate.state.placements import STAGE, Placement

IMAGE_KINDS = frozenset({"image", "imgpkg"})


@dataclass(frozen=True, slots=True)
class NameRow:
    """One artifact: what it was called, where it is, and who must have signed it."""

    old: str
    new: str  # with its host, and its tag or digest
    digest: str
    root: str  # the digest that it had before; another than `digest` only where platforms were left out
    kind: str
    keys: tuple[PublicKey, ...] = ()

    @property
    def is_image(self) -> bool:
        """Whether clusters pull it under its old name."""
        return self.kind in IMAGE_KINDS

    @property
    def source(self) -> Reference:
        """The old name in its parts; only of an image."""
        return parse_reference(self.old)

    @property
    def repository(self) -> str:
        """Where it is now, without tag and digest."""
        return split_place(self.new)[0]

    @property
    def pinned(self) -> str:
        """Where it is now, by digest."""
        return f"{self.repository}@{self.digest}"


def rows_of(placements: Iterable[Placement], host: str = "") -> tuple[NameRow, ...]:
    """Rows by old name. `host` is where a stage is served. Raises FormatError for an expectation that is none."""
    rows = {}
    for item in placements:
        new = f"{host}/{item.place}" if item.target.startswith(STAGE) and host else item.place
        keys = parse_expectation(item.expect, what=item.name).public_keys(item.name) if item.expect else ()
        rows[item.name, new] = NameRow(item.name, new, item.digest, item.root, item.kind, keys)
    return tuple(rows[key] for key in sorted(rows))
