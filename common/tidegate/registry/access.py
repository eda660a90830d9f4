"""What this host knows about registries: scheme, certificates, proxies, credentials; each by the registry's name.

Nothing here is sent or asked. Own settings come first, then the folders of certificates that Docker and Podman know.
TLS verification is off for a registry only where a setting names it, and stays on for wherever that one redirects to.
"""

import ipaddress
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from tidegate.config import RegistrySettings
from tidegate.errors import UsageError
from tidegate.registry.credentials import CredentialStore, Secrets

_NONE = RegistrySettings()
#: Docker's and Podman's folders: HOST/*.crt is a CA, HOST/*.cert with *.key a client's certificate
CERTIFICATE_FOLDERS = (Path("/etc/docker/certs.d"), Path("/etc/containers/certs.d"))


@dataclass(slots=True)
class RegistryAccess:
    """Settings by host, and who we are there. Without arguments: nobody, with this host's own certificates."""

    settings: Mapping[str, RegistrySettings] = field(default_factory=dict)
    credentials: CredentialStore = field(default_factory=lambda: CredentialStore({}, {"HOME": "/nonexistent"}))
    secrets: Secrets = field(default_factory=Secrets)
    #: hosts that a registries.conf calls insecure
    insecure: frozenset[str] = frozenset()

    def of(self, host: str) -> RegistrySettings:
        return self.settings.get(host, _NONE)

    def scheme(self, host: str) -> str:
        """Plain http for this machine and for what a setting names, https for every other."""
        given = self.of(host)
        return "http" if given.plain_http or (is_loopback(host) and not _has_tls(given)) else "https"

    def tls_context(self, host: str) -> ssl.SSLContext:
        """Raises UsageError for a file that cannot be used; never says what is in it."""
        given = self.of(host)
        return _context(given, host, given.tls_verify and host not in self.insecure)


def _has_tls(given: RegistrySettings) -> bool:
    return bool(given.ca or given.client_cert) or not given.tls_verify


def _context(given: RegistrySettings, host: str, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    folders = [folder / host for folder in CERTIFICATE_FOLDERS if (folder / host).is_dir()]
    files = [path for folder in folders for path in sorted(folder.glob("*.crt"))]
    files += [Path(given.ca).expanduser()] if given.ca else []
    pairs = [(path, path.with_suffix(".key")) for folder in folders for path in sorted(folder.glob("*.cert"))]
    if given.client_cert:
        pairs = [(Path(given.client_cert).expanduser(), Path(given.client_key or given.client_cert).expanduser())]
    for path in files:
        with _usable(path, host):
            context.load_verify_locations(path)
    for certificate, key in pairs[:1]:
        with _usable(certificate, host):
            # A key with a passphrase would make OpenSSL ask at the terminal.
            context.load_cert_chain(certificate, key, password=_no_passphrase)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_passphrase() -> str:
    return ""


class _usable:  # noqa: N801  reads as a statement: with _usable(path, host)
    """Errors of a certificate's file as ours."""

    def __init__(self, path: Path, host: str) -> None:
        self._path, self._host = path, host

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):  # ssl.SSLError is one
            reason = "is no certificate or key that can be used" if isinstance(error, ssl.SSLError) else error.strerror
            raise UsageError(f"{self._host}: {self._path}: {reason}") from None


def is_loopback(host: str) -> bool:
    """Whether `host` (with or without port) is this machine."""
    name = bare_host(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def bare_host(host: str) -> str:
    """`host` without port and brackets."""
    return host[1 : host.index("]")] if host.startswith("[") and "]" in host else host.partition(":")[0]


def proxy_for(base: str) -> str | None:
    """The proxy that the environment names for `base`, None where there is none or NO_PROXY excepts the host."""
    parts = urlsplit(base)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(parts.netloc.rpartition("@")[2]) or _in_network(host):
        return None
    return getproxies().get(parts.scheme) or getproxies().get("all")


def _in_network(host: str) -> bool:
    """NO_PROXY may name networks (``10.0.0.0/8``), as Go's programs read it; Python's own rule does not."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    listed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    networks = (_network(item.strip()) for item in listed.split(",") if "/" in item)
    return any(network is not None and address in network for network in networks)


@cache
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
