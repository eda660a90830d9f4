"""All registries that this host reaches: one client each, and the places where a repository is looked for.

Mirrors come from our settings, else from Podman's ``registries.conf``; they are asked first, the registry itself last.
What comes from a mirror is held to the digest that was asked for, as everything is; a tag is what the mirror says.
"""

import os
import threading
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.config import RegistrySettings, Settings
from tidegate.errors import RegistryError, UsageError
from tidegate.files import read_given
from tidegate.registry.access import RegistryAccess
from tidegate.registry.client import RegistryClient
from tidegate.registry.credentials import CredentialStore
from tidegate.registry.mirrors import MirroredClient, Place
from tidegate.registry.reference import is_host
from tidegate.units import MIB

CONF_MAX_BYTES = 1 * MIB
_SYSTEM_CONF = Path("/etc/containers/registries.conf")


@dataclass(frozen=True, slots=True)
class Rule:
    """One ``[[registry]]`` of a registries.conf: what begins with `prefix` is looked for at `places` (in order)."""

    prefix: str
    places: tuple[str, ...]  # with the mirrors first and the location last
    insecure: frozenset[str] = frozenset()
    blocked: bool = False

    def fits(self, name: str) -> bool:
        if self.prefix.startswith("*."):
            return name.partition("/")[0].partition(":")[0].endswith(self.prefix[1:])
        return name == self.prefix or name.startswith((f"{self.prefix}/", f"{self.prefix}:"))


class Registries:
    """Clients by host, made when they are first asked for. Safe for threads."""

    def __init__(self, access: RegistryAccess | None = None, rules: tuple[Rule, ...] = ()) -> None:
        self.access = access or RegistryAccess()
        self._rules = rules
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, bool], RegistryClient] = {}

    @classmethod
    def of(cls, settings: Settings, environment: Mapping[str, str] | None = None) -> "Registries":
        """As settings, environment and the files of Docker and Podman have it. Raises UsageError."""
        given = os.environ if environment is None else environment
        rules = read_rules(given)
        insecure = frozenset(host for rule in rules for host in rule.insecure)
        credentials = CredentialStore(settings.registries, given)
        return cls(RegistryAccess(settings.registries, credentials, insecure=insecure), rules)

    def client(self, host: str) -> RegistryClient:
        """To pull from: asks mirrors first where there are any."""
        return self._made(host, mirrored=True)

    def target(self, host: str) -> RegistryClient:
        """To push to: the registry itself."""
        return self._made(host, mirrored=False)

    def _made(self, host: str, *, mirrored: bool) -> RegistryClient:
        with self._lock:
            key = (host, mirrored and (bool(self.access.of(host).mirrors) or bool(self._rules)))
            if key not in self._clients:
                self._clients[key] = (
                    MirroredClient(host, self.access, lambda repository: self.places(host, repository), self.target)
                    if key[1]
                    else RegistryClient(host, access=self.access)
                )
            return self._clients[key]

    def places(self, host: str, repository: str) -> tuple[Place, ...]:
        """Where to look for a repository, mirrors first. Raises RegistryError where a registries.conf blocks it."""
        own: RegistrySettings = self.access.of(host)
        if own.mirrors:
            mirrors = tuple(_joined(mirror, repository) for mirror in own.mirrors)
            return (*mirrors, Place(host, repository))
        name = f"{host}/{repository}"
        fitting = [rule for rule in self._rules if rule.fits(name)]
        if not fitting:
            return (Place(host, repository),)
        rule = max(fitting, key=lambda rule: len(rule.prefix))
        if rule.blocked:
            raise RegistryError(f"{name}: registries.conf of this host blocks it")
        if rule.prefix.startswith("*."):  # such a prefix has no location of its own
            return (*(_joined(place, repository) for place in rule.places), Place(host, repository))
        rest = name[len(rule.prefix) :].lstrip("/")
        return tuple(_joined(place, rest) for place in rule.places)


def _joined(place: str, rest: str) -> Place:
    """``mirror.example/hub`` and ``library/alpine`` as a place."""
    host, _, prefix = place.rstrip("/").partition("/")
    if not is_host(host):
        raise UsageError(f"mirror {place[:200]!r}: begins with no registry", hint="write HOST[:PORT][/PREFIX]")
    return Place(host, "/".join(part for part in (prefix, rest) if part))


# --- registries.conf --------------------------------------------------------------------------


def read_rules(environment: Mapping[str, str]) -> tuple[Rule, ...]:
    """The rules of the registries.conf that Podman and skopeo would read. Raises UsageError."""
    return tuple(rule for path in _conf_files(environment) for rule in _read_conf(path))


def _conf_files(environment: Mapping[str, str]) -> Iterator[Path]:
    named = environment.get("CONTAINERS_REGISTRIES_CONF")
    home = Path(environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME") or "/") / ".config")
    main = Path(named) if named else home / "containers" / "registries.conf"
    if not named and not main.is_file():
        main = _SYSTEM_CONF
    if main.is_file():
        yield main
    for folder in () if named else (Path(f"{_SYSTEM_CONF}.d"), home / "containers" / "registries.conf.d"):
        yield from sorted(folder.glob("*.conf"))


def _read_conf(path: Path) -> tuple[Rule, ...]:
    data = read_given(path, CONF_MAX_BYTES)
    if len(data) > CONF_MAX_BYTES:
        raise UsageError(f"{path}: more than {CONF_MAX_BYTES} bytes")
    return parse_rules(data, str(path))


def parse_rules(data: bytes, name: str) -> tuple[Rule, ...]:
    """The rules in a registries.conf of version 2. Raises UsageError naming the file."""
    try:
        tables = tomllib.loads(data.decode()).get("registry", [])
        rules = tuple(_rule(table) for table in tables if isinstance(table, dict))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{name}: is no valid TOML: {str(error)[:200]}") from None
    except (TypeError, ValueError, AttributeError):
        raise UsageError(f"{name}: has a [[registry]] that is none") from None
    return tuple(rule for rule in rules if rule.prefix)


def _rule(table: dict[str, Any]) -> Rule:
    location, prefix = _text(table.get("location")), _text(table.get("prefix"))
    insecure = {location.partition("/")[0]} if table.get("insecure") is True and location else set()
    places = []
    for mirror in table.get("mirror", []):
        place = _text(mirror.get("location"))
        if place and mirror.get("pull-from-mirror") != "digest-only" and not table.get("mirror-by-digest-only"):
            places.append(place)
        if place and mirror.get("insecure") is True:
            insecure.add(place.partition("/")[0])
    if location or not prefix.startswith("*."):
        places.append(location or prefix)
    return Rule(prefix or location, tuple(places), frozenset(insecure), table.get("blocked") is True)


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 4096:
        raise TypeError
    return value
