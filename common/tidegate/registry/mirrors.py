"""Pull from mirrors first, from the registry itself last; for whoever pulls it is one client.

A mirror that has something not, or fails, hands over to the next place, for a blob where it stopped. One that cannot be
reached is not asked again. Only reading is mirrored; tags are what the first place says that has them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tidegate.errors import RegistryError
from tidegate.registry.access import RegistryAccess
from tidegate.registry.client import ManifestAnswer, RegistryClient

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """A repository at a registry."""

    host: str
    repository: str


class MirroredClient(RegistryClient):
    """As `RegistryClient`. `places` says where a repository is looked for; `plain` gives the client of a mirror."""

    def __init__(
        self,
        host: str,
        access: RegistryAccess,
        places: Callable[[str], tuple[Place, ...]],
        plain: Callable[[str], RegistryClient],
    ) -> None:
        super().__init__(host, access=access)
        self._places, self._plain = places, plain
        self._given_up: set[str] = set()

    def manifest(self, repository: str, reference: str) -> ManifestAnswer:
        return self._first(repository, lambda client, name: RegistryClient.manifest(client, name, reference))

    def manifest_digest(self, repository: str, reference: str) -> str | None:
        def ask(client: RegistryClient, name: str) -> str | None:
            return RegistryClient.manifest_digest(client, name, reference)

        return self._first(repository, ask)

    def tags(self, repository: str) -> tuple[str, ...]:
        return self._first(repository, RegistryClient.tags)

    def fetch_blob(
        self, repository: str, digest: str, size: int, write: Callable[[bytes], object], *, start: int = 0
    ) -> None:
        received = start

        def counting(piece: bytes) -> None:
            nonlocal received
            write(piece)
            received += len(piece)

        def fetch(client: RegistryClient, name: str) -> bool:
            RegistryClient.fetch_blob(client, name, digest, size, counting, start=received)
            return True

        self._first(repository, fetch)

    def _first(self, repository: str, ask: Callable[[RegistryClient, str], T]) -> T:
        """The first answer that says something; the registry's own answer, or its error, where no mirror has one."""
        for place in self._places(repository)[:-1]:
            if place.host in self._given_up:
                continue
            try:
                answer = ask(self._plain(place.host), place.repository)
            except RegistryError as error:
                if not error.status:  # it did not answer at all
                    self._given_up.add(place.host)
            else:
                if answer:
                    return answer
        last = self._places(repository)[-1]
        return ask(self if last.host == self.host else self._plain(last.host), last.repository)
