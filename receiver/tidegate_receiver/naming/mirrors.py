"""Mirrors: whoever pulls the old name gets it from the new place. OpenShift, containerd, Podman and CRI-O.

Fields: OpenShift's config.openshift.io/v1, containerd's hosts.md, containers-registries.conf(5) version 2.
"""

from collections.abc import Iterable, Mapping

from tidegate.registry.reference import DOCKER_HUB
from tidegate_receiver.naming.rows import NameRow
from tidegate_receiver.naming.writing import toml_text, yaml_text

_POLICY = "NeverContactSource"


def repositories(rows: Iterable[NameRow]) -> dict[str, tuple[str, ...]]:
    """Old repositories, with their host, and the new ones of each."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.is_image:
            source = row.source
            found.setdefault(f"{source.registry}/{source.repository}", {})[row.repository] = None
    return {old: tuple(sorted(found[old])) for old in sorted(found)}


def digest_mirrors(rows: Iterable[NameRow], name: str) -> str:
    """An ImageDigestMirrorSet, for what is pulled by digest."""
    return _mirror_set(rows, name, "ImageDigestMirrorSet", "imageDigestMirrors")


def tag_mirrors(rows: Iterable[NameRow], name: str) -> str:
    """An ImageTagMirrorSet, for what is pulled by tag."""
    return _mirror_set(rows, name, "ImageTagMirrorSet", "imageTagMirrors")


def _mirror_set(rows: Iterable[NameRow], name: str, kind: str, field: str) -> str:
    mirrors = [
        {"source": old, "mirrors": list(new), "mirrorSourcePolicy": _POLICY} for old, new in repositories(rows).items()
    ]
    return yaml_text(
        {"apiVersion": "config.openshift.io/v1", "kind": kind, "metadata": {"name": name}, "spec": {field: mirrors}}
    )


def registries_conf(rows: Iterable[NameRow], *, insecure: frozenset[str] = frozenset()) -> str:
    """A file for /etc/containers/registries.conf.d: each old repository is looked for at the new place first."""
    parts = []
    for old, places in repositories(rows).items():
        lines = ["[[registry]]", f"prefix = {toml_text(old)}", f"location = {toml_text(old)}"]
        for place in places:
            lines += ["", "[[registry.mirror]]", f"location = {toml_text(place)}"]
            if place.partition("/")[0] in insecure:
                lines.append("insecure = true")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def hosts_files(
    rows: Iterable[NameRow], *, insecure: frozenset[str] = frozenset()
) -> tuple[dict[str, str], tuple[str, ...]]:
    """For containerd: a ``HOST/hosts.toml`` each, and the old repositories for which containerd has no way to say it.

    containerd puts a path before the whole repository and knows no other rule, so only what kept its name below some
    prefix can be found.
    """
    servers: dict[str, dict[str, None]] = {}
    unsaid = []
    for old, places in repositories(rows).items():
        host, _, repository = old.partition("/")
        for place in places:
            new_host, _, new_repository = place.partition("/")
            if new_repository != repository and not new_repository.endswith(f"/{repository}"):
                unsaid.append(old)
                continue
            prefix = new_repository[: -len(repository)].rstrip("/")
            scheme = "http" if new_host in insecure else "https"
            url = f"{scheme}://{new_host}/v2/{prefix}" if prefix else f"{scheme}://{new_host}"
            servers.setdefault(host, {})[url] = None
    return {f"{host}/hosts.toml": _hosts(host, servers[host]) for host in sorted(servers)}, tuple(unsaid)


def _hosts(host: str, urls: Mapping[str, None]) -> str:
    server = "https://registry-1.docker.io" if host == DOCKER_HUB else f"https://{host}"
    lines = [f"server = {toml_text(server)}"]
    for url in sorted(urls):
        lines += ["", f"[host.{toml_text(url)}]", '  capabilities = ["pull", "resolve"]']
        if "/v2/" in url:
            lines.append("  override_path = true")
    return "\n".join(lines) + "\n"
