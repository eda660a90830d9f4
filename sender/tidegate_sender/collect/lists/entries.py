"""Entries of a transfer list that are no plain image, layout or folder: fields in, items out. Raises UsageError."""

from pathlib import Path
from typing import Any

from tidegate.errors import CollectError, UsageError
from tidegate.registry.reference import parse_reference, slug
from tidegate_sender.collect.archives.tars import TarItem
from tidegate_sender.collect.charts import OCI, ChartItem
from tidegate_sender.collect.download import check_url
from tidegate_sender.collect.imgpkg_bundle import ImgpkgItem
from tidegate_sender.collect.items import Item


def chart_item(fields: dict[str, Any], folder: Path, common: dict[str, Any]) -> ChartItem:
    """A chart: ``source`` is what an entry of plain text says."""
    named = {**_chart_source(str(fields.get("source", ""))), **fields}
    path, repository, chart = (str(named.get(key, "")) for key in ("path", "repository", "chart"))
    _check_chart(path, repository, chart, str(named.get("version", "")))
    between = str(named.get("folder", ""))
    if between and "/".join(map(slug, between.split("/"))) != between:
        raise UsageError(f"folder {between!r} cannot stand in a repository's name: use a-z, 0-9 and -")
    item = ChartItem(
        chart=chart,
        repository=repository,
        version=str(named.get("version", "")),
        path=folder / path if path else None,
        folder=between,
        images=bool(named.get("images", False)),
        values=tuple(folder / value for value in named.get("values", ())),
        platforms=tuple(named.get("platforms", ())),
        expects_images="images" in named.get("expect", ()),
        **{**common, "given": path or repository},
    )
    if item.expects_images and not item.images:
        raise UsageError('"expect: [images]" needs "images: true"')
    return item


def _chart_source(text: str) -> dict[str, str]:
    """What a plain text names: a registry's chart, or a file."""
    if not text:
        return {}
    if text.startswith(OCI):
        return {"repository": text}
    if text.startswith(("http://", "https://")):
        raise UsageError("an HTTP repository has many charts: write chart: and repository: as fields of their own")
    return {"path": text}


def _check_chart(path: str, repository: str, chart: str, version: str) -> None:
    if bool(path) == bool(repository):
        raise UsageError("a chart has either a path or a repository")
    if path and (chart or version):
        raise UsageError("a chart's file says itself which chart and version it is: leave chart and version out")
    if repository.startswith(OCI):
        parse_reference(repository.removeprefix(OCI).rstrip("/") + (f"/{chart}" if chart else ""))
    elif repository:
        try:
            check_url(repository, "repository")
        except CollectError as error:
            raise UsageError(error.message, hint=error.hint) from None
        if not chart:
            raise UsageError("which chart of the repository? write chart: NAME")
    if version:
        from tidegate.charts.versions import VersionRange

        VersionRange(version).choose(())


def further_items(kind: str, fields: dict[str, Any], folder: Path, common: dict[str, Any]) -> tuple[Item, ...]:
    """The items of one entry of the list `kind`."""
    if kind == "charts":
        return (chart_item(fields, folder, common),)
    if kind == "tars":
        name = str(fields.get("name", ""))
        named = parse_reference(name).name if name else ""
        platforms = tuple(fields.get("platforms", ()))
        return (TarItem(path=folder / fields["path"], name=named, platforms=platforms, **common),)
    if kind == "imgpkg":
        return (ImgpkgItem(reference=parse_reference(fields["ref"]), **common),)
    if kind == "lists":
        from tidegate_sender.collect.lists.foreign_lists import read_foreign_list

        return read_foreign_list(folder / fields["path"], tuple(fields.get("platforms", ())), **common)
    raise UsageError(f"{kind}: unknown list")
