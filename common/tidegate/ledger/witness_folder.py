"""Where a witness keeps what it saw, and by which keys it believes it: the one place that knows the root's layout.

witness/<channel id>/<first>.entries    the copy of the low side's ledger (`log_copy`)
witness/<channel id>/cosigned           the newest head of the own ledger that the low side co-signed
"""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.clock import format_time
from tidegate.errors import FormatError, SignatureError
from tidegate.ledger.checkpoint import NoteKey
from tidegate.ledger.cosignature import open_cosigned
from tidegate.ledger.log_copy import LogCopy

if TYPE_CHECKING:
    from tidegate.trust.root import Chain, Root
    from tidegate.workspace import Workspace

WITNESS_FOLDER = "witness"
COSIGNED_FILE = "cosigned"
COSIGNED_MAX_BYTES = 4096
#: in a bundle's row, until a person accepts it: what the low side's ledger contradicts
FORK_KEY = "ledger_fork"


def log_copy(workspace: "Workspace", channel_id: str) -> LogCopy:
    return LogCopy(workspace.root / WITNESS_FOLDER / channel_id)


def cosigned_path(workspace: "Workspace", channel_id: str) -> Path:
    return workspace.root / WITNESS_FOLDER / channel_id / COSIGNED_FILE


def read_cosigned(workspace: "Workspace", channel_id: str) -> bytes:
    """The newest co-signed note of a channel; empty where there is none."""
    try:
        with cosigned_path(workspace, channel_id).open("rb") as file:
            return file.read(COSIGNED_MAX_BYTES)
    except OSError:
        return b""


def channel_keys(root: "Root") -> tuple[NoteKey, ...]:
    """The keys under which the low side's checkpoints and co-signatures are believed."""
    keys = {name: key for name, key in root.role_keys("ledger").items() if name not in root.revoked_ids}
    return tuple(NoteKey(f"{root.name}/low", key.public_bytes) for key in keys.values())


def site_keys(workspace: "Workspace") -> tuple[NoteKey, ...]:
    """The keys of the own site's ledger."""
    keys = workspace.trust.site_chain().newest.role_keys("ledger")
    return tuple(NoteKey(workspace.origin, key.public_bytes) for key in keys.values())


def cosigned_heads(workspace: "Workspace") -> tuple[tuple[str, bytes], ...]:
    """For each channel whose low side co-signed the own ledger: who and when in words, and the note. High side only."""
    found = []
    chains: tuple[Chain, ...] = workspace.trust.chains()
    for chain in chains:
        note = read_cosigned(workspace, chain.channel_id)
        with contextlib.suppress(FormatError, SignatureError):
            _, _, time = open_cosigned(note, site_keys(workspace), channel_keys(chain.newest))
            found.append((f"a co-signature of {format_time(time)} by {chain.newest.name}/low", note))
    return tuple(found)
