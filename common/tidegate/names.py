"""Names that people type and see: digests, bundle names.

A bundle name is ``CCCC-NNNN``: the first four hex digits of the channel's id and the sequence in at least four
decimal digits (docs/format/bundle.md).
"""

import re

HEX64 = r"^[0-9a-f]{64}\Z"
DIGEST = r"^sha256:[0-9a-f]{64}\Z"
#: channel, site, stage and holder names
NAME = r"^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?\Z"
_BUNDLE_NAME = re.compile(r"([0-9a-f]{4})-([0-9]{4,16})")


def bundle_name(channel_id: str, sequence: int) -> str:
    return f"{channel_id[:4]}-{sequence:04d}"


def parse_bundle_name(text: str) -> tuple[str, int] | None:
    """(first four hex digits of the channel's id, sequence), or None where `text` is no bundle name."""
    match = _BUNDLE_NAME.fullmatch(text)
    return (match[1], int(match[2])) if match else None


def is_path(text: str) -> bool:
    """Whether a BUNDLE argument names a file or folder: it has a ``/`` or ends in ``.tgb``."""
    return "/" in text or text.endswith(".tgb")


def hex_of(digest: str) -> str:
    """The hex digits of ``sha256:…``."""
    return digest.removeprefix("sha256:")
