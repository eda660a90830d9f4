"""Where credentials for a registry are found: our settings, then the files that Docker and Podman keep, and helpers.

Read when a registry asks for them and not before. A secret shows in no ``repr``; whoever uses one hands it to
`Secrets`, which takes it out of every text that an error could carry. Files: docs/decisions/0019-registry-access.md.
"""

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from tidegate.config import RegistrySettings
from tidegate.errors import RegistryAuthError, UsageError
from tidegate.registry.reference import DOCKER_HUB
from tidegate.units import KIB, MIB

FILE_MAX_BYTES = 1 * MIB
SECRET_MAX_BYTES = 64 * KIB
HELPER_SECONDS = 60  # a helper may ask a cloud for a token
_HUB_SERVER = "https://index.docker.io/v1/"
_HELPER_NAME = re.compile(r"[a-zA-Z0-9._-]{1,64}")
_IDENTITY_USER = "<token>"  # Docker's way to say that the secret is an identity token
_SHORTEST_SECRET = 4  # shorter ones would black out ordinary words


class CredentialKind(StrEnum):
    """What the secret is."""

    PASSWORD = "password"  # noqa: S105  the word, not one
    IDENTITY = "identity"  # exchanged for a token (OAuth 2 refresh token)
    BEARER = "bearer"  # sent as it is


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """Who we are at a registry. `origin` says where it was found, for errors."""

    kind: CredentialKind
    user: str
    secret: str
    origin: str

    def __repr__(self) -> str:
        return f"Credential({self.kind}, user={self.user!r}, origin={self.origin!r})"

    @property
    def basic(self) -> str:
        return base64.b64encode(f"{self.user}:{self.secret}".encode()).decode()


class Secrets:
    """Every secret that was used, so that no message repeats one, whoever wrote it."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def add(self, *secrets: str) -> None:
        self._known.update(secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)

    def redact(self, text: str) -> str:
        for secret in sorted(self._known, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


@dataclass(slots=True)
class CredentialStore:
    """Finds the credential for a repository of a registry. `settings` come first; then the files, in order."""

    settings: Mapping[str, RegistrySettings] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    _files: tuple["_AuthFile", ...] | None = None

    def find(self, host: str, repository: str = "") -> Credential | None:
        """None: nobody has said who we are there. Raises UsageError, RegistryAuthError for what cannot be read."""
        named = _from_settings(self.settings.get(host), host)
        if named is not None:
            return named
        if self._files is None:
            self._files = tuple(_read_auth_file(path) for path in self._paths() if path.is_file())
        for file in self._files:
            found = file.find(host, repository)
            if found is not None:
                return found
        return None

    def _paths(self) -> Iterator[Path]:
        """Where Docker and Podman keep what ``login`` left, in the order in which they are asked."""
        get, home = self.environment.get, Path(self.environment.get("HOME") or Path.home())
        if get("REGISTRY_AUTH_FILE"):
            yield Path(self.environment["REGISTRY_AUTH_FILE"])
        yield Path(get("DOCKER_CONFIG") or home / ".docker") / "config.json"
        if get("XDG_RUNTIME_DIR"):
            yield Path(self.environment["XDG_RUNTIME_DIR"]) / "containers" / "auth.json"
        yield Path(get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json"


def _from_settings(settings: RegistrySettings | None, host: str) -> Credential | None:
    if settings is None or not (settings.user or settings.token_file or settings.password_file):
        return None
    origin = f"settings of {host}"
    if settings.token_file:
        if settings.user or settings.password_file:
            raise UsageError(f"{origin}: has a token_file and a user; one of them is meant")
        return Credential(CredentialKind.BEARER, "", _secret_file(settings.token_file, origin), origin)
    if not settings.user or not settings.password_file:
        raise UsageError(f"{origin}: user and password_file go together")
    return Credential(CredentialKind.PASSWORD, settings.user, _secret_file(settings.password_file, origin), origin)


def _secret_file(path: str, origin: str) -> str:
    try:
        with open(Path(path).expanduser(), "rb") as file:
            data = file.read(SECRET_MAX_BYTES + 1)
        secret = data.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise UsageError(f"{origin}: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{origin}: {path}: is no text") from None
    if not secret or len(data) > SECRET_MAX_BYTES or any(c < " " or c == "\x7f" for c in secret):
        raise UsageError(f"{origin}: {path}: holds no secret in a single line")
    return secret


# --- the files of other tools -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _AuthFile:
    """One ``config.json`` or ``auth.json``: entries by host or host/prefix, and the helpers it names."""

    path: Path
    auths: dict[str, Any]
    helpers: dict[str, Any]
    store: str

    def find(self, host: str, repository: str) -> Credential | None:
        for helper in (self.helpers.get(_server(host)), self.helpers.get(host), self.store):
            if isinstance(helper, str) and helper:
                found = _ask_helper(helper, host, str(self.path))
                if found is not None:
                    return found
        parts = repository.split("/") if repository else []
        for count in range(len(parts), -1, -1):
            entry = self.auths.get("/".join([host, *parts[:count]]))
            found = _from_entry(entry, f"{self.path}") if isinstance(entry, dict) else None
            if found is not None:
                return found
        return None


def _read_auth_file(path: Path) -> _AuthFile:
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_MAX_BYTES + 1)
        if len(data) > FILE_MAX_BYTES:
            raise ValueError
        plain = json.loads(data)
        auths, helpers = plain.get("auths") or {}, plain.get("credHelpers") or {}
        store = plain.get("credsStore") or ""
        entries = {_normal(key): value for key, value in auths.items()}
        return _AuthFile(path, entries, dict(helpers), str(store))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (ValueError, AttributeError, TypeError, RecursionError):
        # Never what is in it: a parser's message quotes what it stumbled over.
        raise UsageError(
            f"{path}: is no file of credentials as Docker and Podman write them", hint="log in again with them"
        ) from None


def _normal(key: str) -> str:
    """The host, or host/prefix, that a key means: Docker's own keys are addresses, ``https://host/v1/``."""
    scheme, separator, rest = key.partition("://")
    name = rest.partition("/")[0] if separator and scheme in {"http", "https"} else key.rstrip("/")
    host, slash, prefix = name.partition("/")
    if host in {"index.docker.io", "registry-1.docker.io"}:
        host = DOCKER_HUB
    return host if prefix in {"v1", "v2"} else f"{host}{slash}{prefix}"


def _from_entry(entry: dict[str, Any], origin: str) -> Credential | None:
    def text(name: str) -> str:
        value = entry.get(name)
        return value if isinstance(value, str) else ""

    if text("identitytoken"):
        return Credential(CredentialKind.IDENTITY, "", text("identitytoken"), origin)
    if text("registrytoken"):
        return Credential(CredentialKind.BEARER, "", text("registrytoken"), origin)
    user, secret = text("username"), text("password")
    if text("auth"):
        try:
            user, _, secret = base64.b64decode(text("auth"), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise UsageError(f"{origin}: an entry `auth` is no base64 of user and password") from None
    return Credential(CredentialKind.PASSWORD, user, secret.rstrip("\x00"), origin) if user and secret else None


def _server(host: str) -> str:
    """How Docker calls a registry when it speaks to helpers."""
    return _HUB_SERVER if host == DOCKER_HUB else host


def _ask_helper(helper: str, host: str, origin: str) -> Credential | None:
    """``docker-credential-HELPER get``. What it prints is never repeated: it may be the secret."""
    program = f"docker-credential-{helper}"
    if not _HELPER_NAME.fullmatch(helper):
        raise UsageError(f"{origin}: {helper[:64]!r} is no name of a credential helper")
    try:
        done = subprocess.run(
            [program, "get"], input=_server(host).encode(), capture_output=True, timeout=HELPER_SECONDS, check=False
        )
    except FileNotFoundError:
        raise RegistryAuthError(f"{host}: {origin} names {program}, which is not installed") from None
    except (OSError, subprocess.SubprocessError):
        raise RegistryAuthError(f"{host}: {program} does not answer") from None
    if done.returncode != 0:
        if b"not found" in done.stdout + done.stderr:
            return None
        raise RegistryAuthError(f"{host}: {program} fails with exit code {done.returncode}", hint=f"try {program} get")
    try:
        answer = json.loads(done.stdout[:SECRET_MAX_BYTES])
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, LookupError, TypeError, RecursionError):
        raise RegistryAuthError(f"{host}: {program} gives an answer that is none") from None
    if not secret:
        return None
    if user == _IDENTITY_USER:
        return Credential(CredentialKind.IDENTITY, "", secret, program)
    return Credential(CredentialKind.PASSWORD, user, secret, program)
