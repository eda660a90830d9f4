"""Choose platforms of an index: which root an artifact gets (docs/format/content.md, C-7)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import msgspec

from tidegate.canonical import loads
from tidegate.depot.descriptors import Descriptor, Manifest, Platform
from tidegate.depot.graph import carried, format_platforms, matches, parse_platforms
from tidegate.errors import CollectError, FormatError
from tidegate.oci import PLATFORMS
from tidegate.units import MIB

CONFIG_MAX_BYTES = 4 * MIB


class _Config(msgspec.Struct):
    os: Annotated[str, msgspec.Meta(max_length=128)] = ""
    architecture: Annotated[str, msgspec.Meta(max_length=128)] = ""
    variant: Annotated[str, msgspec.Meta(max_length=128)] = ""


def choose_root(
    root: Descriptor,
    manifest: Manifest,
    wanted: tuple[str, ...],
    label: str,
    read_config: Callable[[Descriptor, int], bytes],
) -> Descriptor:
    """The artifact's root for the platforms `wanted`; `root` itself where none is.

    One manifest that fits is the root itself; several leave the index as it is, with a note of what is carried.
    Raises CollectError naming the platforms that are not there, and those that are.
    """
    if not wanted:
        return root
    text = format_platforms(wanted)
    platforms = parse_platforms(text)
    if not manifest.is_index:
        _check_single(manifest, platforms, label, read_config)
        return root
    _check_all_there(manifest, platforms, label)
    chosen = carried(manifest, platforms)
    if chosen == manifest.manifests:
        return root
    images = [
        item for item in chosen if item.platform is not None and any(matches(item.platform, p) for p in platforms)
    ]
    if len(images) == 1 and not any(item.is_index for item in chosen):
        return Descriptor(images[0].media_type, images[0].digest, images[0].size)
    return replace(root, annotations={PLATFORMS: text})


def _check_all_there(index: Manifest, platforms: tuple[Platform, ...], label: str) -> None:
    there = [item.platform for item in index.manifests if item.platform is not None]
    missing = [str(wanted) for wanted in platforms if not any(matches(item, wanted) for item in there)]
    if missing and not any(item.is_index for item in index.manifests):
        known = sorted({str(item) for item in there} - {"unknown/unknown"})
        raise CollectError(f"{label}: no image for {', '.join(missing)}; there are {', '.join(known) or 'none'}")


def _check_single(
    manifest: Manifest,
    platforms: tuple[Platform, ...],
    label: str,
    read_config: Callable[[Descriptor, int], bytes],
) -> None:
    """An image without an index says its platform in its config."""
    assert manifest.config is not None
    data = read_config(manifest.config, CONFIG_MAX_BYTES)
    try:
        config = loads(data, _Config, what=f"{label}: config", max_bytes=CONFIG_MAX_BYTES, exact=False)
    except FormatError as error:
        raise CollectError(error.message) from None
    actual = Platform(config.os, config.architecture, config.variant)
    if not any(matches(actual, wanted) for wanted in platforms):
        asked = ", ".join(map(str, platforms))
        raise CollectError(f"{label}: is for {actual} only, {asked} was asked for")
