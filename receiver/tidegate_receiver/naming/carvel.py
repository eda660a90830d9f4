"""Carvel's files: a configuration for kbld, an ImagesLock for kbld and imgpkg, PackageRepositories for kapp-controller.

kbld compares names as texts, so an image is listed under each way in which manifests write its old name.
Fields: carvel.dev, kbld "Configuration", imgpkg "Resources", kapp-controller "Packaging".
"""

import hashlib
from collections.abc import Iterable

from tidegate.registry.reference import DOCKER_HUB, Reference, slug
from tidegate_receiver.naming.rows import NameRow
from tidegate_receiver.naming.writing import yaml_text

BUNDLE_KIND = "imgpkg"
_ID = "kbld.carvel.dev/id"


def kbld_config(rows: Iterable[NameRow]) -> str:
    """Overrides: kbld writes the new name, by digest, wherever it finds the old one."""
    overrides = [
        {"image": spelled, "newImage": row.pinned, "preresolved": True}
        for row in rows
        if row.is_image
        for spelled in spellings(row.source)
    ]
    return yaml_text({"apiVersion": "kbld.k14s.io/v1alpha1", "kind": "Config", "overrides": overrides})


def images_lock(rows: Iterable[NameRow]) -> str:
    """An ImagesLock of the new names, each with its old one."""
    images = [
        {"image": row.pinned, "annotations": {_ID: spelled}}
        for row in rows
        if row.is_image
        for spelled in spellings(row.source)
    ]
    return yaml_text({"apiVersion": "imgpkg.carvel.dev/v1alpha1", "kind": "ImagesLock", "images": images})


def spellings(source: Reference) -> tuple[str, ...]:
    """The ways in which manifests write a name: Docker Hub's host and ``library/`` may be left out, and ``latest``."""
    ends = [f":{source.tag}" if source.tag else f"@{source.digest}"]
    if source.tag == "latest":
        ends.append("")
    heads = [f"{source.registry}/{source.repository}"]
    if source.registry == DOCKER_HUB:
        short = source.repository.removeprefix("library/")
        paths = [source.repository] if short == source.repository or "/" in short else [source.repository, short]
        hosts = (f"{DOCKER_HUB}/", f"index.{DOCKER_HUB}/", "")
        heads = [f"{host}{path}" for host in hosts for path in paths]
    return tuple(head + end for head in heads for end in ends)


def package_repositories(rows: Iterable[NameRow], secret: str) -> str:
    """A PackageRepository for each imgpkg bundle; with `secret`, the login that kapp-controller takes."""
    return yaml_text(*(_repository(row, secret) for row in rows if row.kind == BUNDLE_KIND and _is_root(row)))


def _is_root(row: NameRow) -> bool:
    return "@" not in row.old and not row.old.endswith(".imgpkg")


def _repository(row: NameRow, secret: str) -> dict[str, object]:
    fetch: dict[str, object] = {"image": row.pinned}
    if secret:
        fetch["secretRef"] = {"name": secret}
    return {
        "apiVersion": "packaging.carvel.dev/v1alpha1",
        "kind": "PackageRepository",
        "metadata": {"name": object_name(row.old)},
        "spec": {"fetch": {"imgpkgBundle": fetch}},
    }


def object_name(text: str) -> str:
    """`text` as the name of a Kubernetes object (RFC 1123): two texts never give one name."""
    plain = slug(text).replace("_", "-").replace("..", ".").strip("-.") or "x"
    if plain == text and len(plain) <= 63:
        return plain
    return f"{plain[:50].strip('-.')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
