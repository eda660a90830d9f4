"""Bring the signatures under one of cosign's tags together with those that a site has put there itself.

``sha256-….sig`` is one tag for all signatures of an image, whoever made them: to overwrite it would take a site's own
away. What is there stays, byte by byte; what is new is added behind it. Bytes in, values out.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from tidegate.canonical import dumps
from tidegate.depot.descriptors import Descriptor, Manifest

LAYERS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Merged:
    """The manifest and config that hold both; `config` is empty where the one that is there will do."""

    manifest: bytes
    config: bytes = b""


def missing_layers(ours: Manifest, theirs: Manifest) -> tuple[Descriptor, ...]:
    """The signatures of `ours` that `theirs` does not have; one is its payload with its annotations."""
    known = {(layer.digest, _signature_of(layer)) for layer in theirs.layers}
    return tuple(layer for layer in ours.layers if (layer.digest, _signature_of(layer)) not in known)


def _signature_of(layer: Descriptor) -> str:
    return layer.annotations.get("dev.cosignproject.cosign/signature", "")


def merge(data: bytes, config: bytes, added: tuple[Descriptor, ...]) -> Merged | None:
    """`data`, a manifest with its config, with the layers `added`; None where it has no form that can be added to."""
    try:
        manifest: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
        plain: dict[str, Any] = msgspec.json.decode(config, type=dict[str, Any])
        layers, diffs = manifest["layers"], plain.get("rootfs", {}).get("diff_ids")
        if not isinstance(layers, list) or len(layers) + len(added) > LAYERS_MAX:
            return None
        manifest["layers"] = [*layers, *(layer.to_json() for layer in added)]
        if not isinstance(diffs, list):
            return Merged(dumps(manifest))
        plain["rootfs"]["diff_ids"] = [*diffs, *(layer.digest for layer in added)]
        made = dumps(plain)
        manifest["config"] = {**manifest["config"], **_named(made)}
        return Merged(dumps(manifest), made)
    except (msgspec.MsgspecError, LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return None


def _named(data: bytes) -> dict[str, Any]:
    import hashlib

    return {"digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}
