"""Tell one registry who we are: Basic, or Bearer tokens that are fetched, kept and renewed (distribution's token
specification; OAuth 2 for identity tokens).

A token is fetched when a registry asks for one and renewed before it ends, also in the middle of a copy. Credentials go
to the registry, and to the place of tokens that it names where that is as safe as the registry itself; nowhere else.
"""

import json
import re
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote, urlencode, urlsplit

from tidegate.errors import RegistryAuthError
from tidegate.registry.challenge import Challenge, parse_challenges
from tidegate.registry.credentials import Credential, CredentialKind, CredentialStore, Secrets
from tidegate.units import KIB

TOKEN_MAX_BYTES = 64 * KIB
CLIENT_ID = "tidegate"
_DEFAULT_SECONDS = 60  # the specification's, where a token does not say how long it lives
_RENEW_SECONDS = 10  # so long before its end a token counts as ended
_OBJECT = re.compile(r"/v2/(.+?)/(?:manifests|blobs|tags|referrers)/")
_FROM = re.compile(r"(?:^|&)from=([^&]+)")


class TokenExchange(Protocol):
    """Asks for a token: gives status and body. `form` makes it a POST. Follows no redirect."""

    def __call__(self, url: str, headers: dict[str, str], form: bytes | None) -> tuple[int, bytes]: ...


@dataclass(frozen=True, slots=True, repr=False)
class _Token:
    value: str
    until: float  # by the monotonic clock


def scopes_of(method: str, url: str) -> tuple[str, ...]:
    """What a token must allow for this request: ``repository:app:pull``; nothing for what is no object."""
    path, _, query = url.partition("?")
    found = _OBJECT.search(path)
    if found is None:
        return ()
    reads = method in {"GET", "HEAD"} and "/blobs/uploads/" not in path
    deletes = method == "DELETE" and "/manifests/" in path
    scopes = [f"repository:{found[1]}:{'pull' if reads else 'delete,pull' if deletes else 'pull,push'}"]
    source = _FROM.search(query)
    if source is not None:
        scopes.append(f"repository:{unquote(source[1])}:pull")
    return tuple(scopes)


class Authorization:
    """For the registry `host` at `base`. Safe for threads: they share tokens, and one fetches for all."""

    def __init__(self, host: str, base: str, store: CredentialStore, secrets: Secrets, exchange: TokenExchange) -> None:
        self._host, self._base, self._store, self._exchange = host, base, store, exchange
        self._secrets = secrets
        self._lock = threading.RLock()
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, ...], _Token] = {}

    def header(self, scopes: tuple[str, ...]) -> str | None:
        """What to send with a request; None as long as the registry has not asked."""
        with self._lock:
            if self._challenge is None:
                return None
            credential = self._credential(scopes)
            if credential is not None and credential.kind is CredentialKind.BEARER:
                return f"Bearer {credential.secret}"
            if self._challenge.scheme == "basic":
                return f"Basic {credential.basic}" if credential else None
            token = self._living_token(scopes) or self._fetch(self._challenge, scopes)
            return f"Bearer {token.value}"

    def answer(self, headers: Iterable[str], scopes: tuple[str, ...], sent: str | None) -> bool:
        """The registry said 401 to `sent`: whether there is something else to send now."""
        challenges = {item.scheme: item for item in reversed(parse_challenges(headers))}
        with self._lock:
            if sent is not None and self._challenge is not None and self.header(scopes) != sent:
                return True  # another thread has renewed it meanwhile
            if "bearer" in challenges:
                self._challenge = challenges["bearer"]
                credential = self._credential(scopes)
                if credential is None or credential.kind is not CredentialKind.BEARER:
                    self._fetch(self._challenge, scopes)
                return self.header(scopes) != sent
            if "basic" in challenges:
                self._challenge = challenges["basic"]
                return self.header(scopes) not in {None, sent}
            return False

    def describe(self, scopes: tuple[str, ...]) -> str:
        """As whom we asked, for an error: never a secret."""
        credential = self._credential(scopes)
        if credential is None:
            return "asked without credentials, since none are known here"
        who = f"as {credential.user}" if credential.user else "with a token"
        return f"asked {who}, from {credential.origin}"

    def _credential(self, scopes: tuple[str, ...]) -> Credential | None:
        repository = scopes[0].split(":")[1] if scopes else ""
        credential = self._store.find(self._host, repository)
        if credential is not None:
            self._secrets.add(credential.secret, credential.basic)
        return credential

    # --- tokens ------------------------------------------------------------------------------

    def _living_token(self, scopes: tuple[str, ...]) -> _Token | None:
        """A token for `scopes`, or one that may write where reading is asked for."""
        wider = tuple(scope + ",push" if scope.endswith(":pull") else scope for scope in scopes)
        for wanted in (scopes, wider):
            token = self._tokens.get(wanted)
            if token is not None and token.until > time.monotonic() + _RENEW_SECONDS:
                return token
        return None

    def _fetch(self, challenge: Challenge, scopes: tuple[str, ...]) -> _Token:
        """A new token by the challenge. Raises RegistryAuthError, and what the exchange raises."""
        self._check_realm(challenge)
        credential = self._credential(scopes)
        asked = scopes or challenge.scopes
        if credential is not None and credential.kind is CredentialKind.IDENTITY:
            status, body = self._exchange(challenge.realm, {}, _refresh_form(challenge, asked, credential))
        else:
            headers = {"Authorization": f"Basic {credential.basic}"} if credential else {}
            status, body = self._exchange(_token_url(challenge, asked, credential), headers, None)
        if status != 200:
            where = _without_query(challenge.realm)
            raise self._refused(f"{where} gives no token (HTTP {status})", scopes, status)
        token = self._read(body, challenge, scopes)
        self._tokens[scopes] = token
        return token

    def _read(self, body: bytes, challenge: Challenge, scopes: tuple[str, ...]) -> _Token:
        try:
            plain: dict[str, Any] = json.loads(body)
            value = plain.get("token") or plain.get("access_token")
            lasts = plain.get("expires_in")
        except (ValueError, AttributeError, RecursionError):
            value, lasts = None, None
        if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]{1,60000}", value):
            raise self._refused(f"{_without_query(challenge.realm)} gives an answer that is no token", scopes, 0)
        self._secrets.add(value)
        is_number = isinstance(lasts, int | float) and not isinstance(lasts, bool) and 0 < lasts < 10**9
        seconds = float(lasts) if is_number and lasts is not None else _DEFAULT_SECONDS
        # One that lives a moment only is used for that moment: renewed at each request it would be no use.
        return _Token(value, time.monotonic() + max(seconds, _RENEW_SECONDS + 1.0))

    def _check_realm(self, challenge: Challenge) -> None:
        try:
            parts = urlsplit(challenge.realm)
            is_safe = parts.scheme == "https" or (parts.scheme == "http" and self._base.startswith("http:"))
            is_plain = bool(parts.hostname) and parts.username is None and "\\" not in challenge.realm
        except ValueError:
            is_safe = is_plain = False
        if not is_safe or not is_plain:
            realm = _without_query(challenge.realm)[:200]
            raise RegistryAuthError(f"{self._host}: wants credentials at {realm!r}, and that is no safe place")

    def _refused(self, reason: str, scopes: tuple[str, ...], status: int) -> RegistryAuthError:
        error = RegistryAuthError(
            f"{self._host}: {reason}; {self.describe(scopes)}", hint=f'"docker login {self._host}", or see settings.md'
        )
        error.status = status
        return error


def _token_url(challenge: Challenge, scopes: tuple[str, ...], credential: Credential | None) -> str:
    fields = [("service", challenge.service)] if challenge.service else []
    fields += [("scope", scope) for scope in scopes]
    if credential is not None:
        fields.append(("account", credential.user))
    return f"{challenge.realm}{'&' if '?' in challenge.realm else '?'}{urlencode(fields)}"


def _refresh_form(challenge: Challenge, scopes: tuple[str, ...], credential: Credential) -> bytes:
    return urlencode(
        {
            "grant_type": "refresh_token",
            "service": challenge.service,
            "scope": " ".join(scopes),
            "refresh_token": credential.secret,
            "client_id": CLIENT_ID,
        }
    ).encode()


def _without_query(url: str) -> str:
    return url.partition("?")[0].rpartition("@")[2] if "@" in url else url.partition("?")[0]
