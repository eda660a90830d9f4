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

    def find_manifest(self, repository: str, reference: str) -> ManifestAnswer | None:
        def find(client: RegistryClient, name: str) -> ManifestAnswer | None:
            return RegistryClient.find_manifest(client, name, reference)

        return self._first(repository, find)

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

    def referrers(self, repository: str, digest: str) -> tuple[bytes, ...] | None:
        """The pages of all places: a mirror that has the image need not have what belongs to it."""
        found: list[bytes] = []
        answered = False
        for place, is_last in self._living(repository):
            try:
                pages = RegistryClient.referrers(self._client(place), place.repository, digest)
            except RegistryError as error:
                self._give_up(place, error, is_fatal=is_last and not (answered and not error.status))
            else:
                answered = answered or pages is not None
                found += pages or ()
        return tuple(found) if answered else None

    def _first(self, repository: str, ask: Callable[[RegistryClient, str], T]) -> T:
        """The first answer that says something. Where nobody says anything: the registry's own, or the last mirror's
        where the registry itself cannot be reached."""
        nothing: list[T] = []
        for place, is_last in self._living(repository):
            try:
                answer = ask(self._client(place), place.repository)
            except RegistryError as error:
                self._give_up(place, error, is_fatal=is_last and not (nothing and not error.status))
            else:
                if answer or is_last:
                    return answer
                nothing.append(answer)
        return nothing[-1]

    def _living(self, repository: str) -> list[tuple[Place, bool]]:
        """The places that are worth asking, each with whether it is the last one."""
        *mirrors, last = self._places(repository)
        living = [place for place in mirrors if place.host not in self._given_up]
        if living and last.host in self._given_up:
            return [*((place, False) for place in living[:-1]), (living[-1], True)]
        return [*((place, False) for place in living), (last, True)]

    def _give_up(self, place: Place, error: RegistryError, *, is_fatal: bool) -> None:
        if is_fatal:
            raise error
        if not error.status:  # it did not answer at all
            self._given_up.add(place.host)

    def _client(self, place: Place) -> RegistryClient:
        return self if place.host == self.host else self._plain(place.host)
