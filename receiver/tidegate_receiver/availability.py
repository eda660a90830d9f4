"""Whether a stage has what manifests and charts need: each image by tag or digest, each chart by version.

Hosts are left out of the comparison, as they are in a stage: whether a manifest says ``docker.io/library/app:1`` or
names the registry of this site, what counts is the place ``library/app:1``.
"""

from dataclasses import dataclass
from enum import StrEnum

from tidegate.registry.reference import parse_reference
from tidegate.wanted import Wanted
from tidegate_receiver.serving.catalog import Catalog, Repository


class Presence(StrEnum):
    """What a stage says of one thing."""

    THERE = "there"
    OTHER = "another tag"  # the repository is there, the tag or digest is not
    MOVED = "another digest"  # the tag is there and names another digest than the one asked for
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Checked:
    """One needed thing and whether it is there; `tags` are those that are there instead."""

    name: str
    kind: str
    presence: Presence
    digest: str = ""
    tags: tuple[str, ...] = ()


def check_wanted(wanted: Wanted, catalog: Catalog) -> tuple[Checked, ...]:
    """Every image, then every chart."""
    images = tuple(_check_image(text, catalog) for text in wanted.images.references)
    charts = {(chart.metadata.name, chart.metadata.version) for chart in wanted.charts}
    return images + tuple(_check_chart(name, version, catalog) for name, version in sorted(charts))


def _check_image(text: str, catalog: Catalog) -> Checked:
    reference = parse_reference(text)
    repository = catalog.repositories.get(reference.repository)
    if repository is None:
        return Checked(text, "image", Presence.MISSING)
    there = tuple(sorted(repository.tags))
    digest = repository.tags.get(reference.tag, "") if reference.tag else ""
    if reference.digest:
        return _check_digest(text, reference.digest, digest, repository)
    return Checked(text, "image", Presence.THERE if digest else Presence.OTHER, digest, () if digest else there)


def _check_digest(text: str, wanted: str, tagged: str, repository: Repository) -> Checked:
    if wanted in repository.manifests:
        return Checked(text, "image", Presence.THERE, wanted)
    presence = Presence.MOVED if tagged else Presence.OTHER
    return Checked(text, "image", presence, tagged, tuple(sorted(repository.tags)))


def _check_chart(name: str, version: str, catalog: Catalog) -> Checked:
    versions = {
        chart.metadata.version: chart.blobs.content.digest
        for repository in catalog.repositories.values()
        for chart in repository.charts
        if chart.metadata.name == name
    }
    title = f"{name}-{version}.tgz"
    if version in versions:
        return Checked(title, "chart", Presence.THERE, versions[version])
    presence = Presence.OTHER if versions else Presence.MISSING
    return Checked(title, "chart", presence, "", tuple(sorted(versions)))
