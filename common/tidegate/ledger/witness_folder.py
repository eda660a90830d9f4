"""Where a witness keeps what it saw, and by which keys it believes it: the one place that knows the root's layout.

witness/<channel id>/<first>.entries    the copy of the low side's ledger (`log_copy`)
witness/<channel id>/memory             what the state remembers, once more: for a state that is made anew
witness/<channel id>/cosigned           the newest head of the own ledger that the low side co-signed
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.clock import format_time
from tidegate.errors import FormatError, SignatureError, StateError
from tidegate.files import host_error, locked, make_folders, write_durably
from tidegate.ledger.checkpoint import NoteKey
from tidegate.ledger.cosignature import open_cosigned
from tidegate.ledger.log_copy import LogCopy
from tidegate.ledger.witness_memory import Memory, get_memory, read_memory, write_memory

if TYPE_CHECKING:
    from tidegate.trust.root import Chain, Root
    from tidegate.workspace import Workspace

WITNESS_FOLDER = "witness"
LOCK_FILE = ".lock"
LOCK_WAIT_SECONDS = 10.0
COSIGNED_FILE = "cosigned"
MEMORY_FILE = "memory"
MEMORY_MAX_BYTES = 1 << 20
COSIGNED_MAX_BYTES = 4096
#: in a bundle's row, until a person accepts it: what the low side's ledger contradicts
FORK_KEY = "ledger_fork"


@contextlib.contextmanager
def taking_in(workspace: "Workspace", *, wait_seconds: float = LOCK_WAIT_SECONDS) -> Iterator[None]:
    """Be the only one that changes what is remembered. Raises BusyError, and HostError where it cannot be locked."""
    folder = workspace.root / WITNESS_FOLDER
    busy = "another command takes in a ledger"
    with contextlib.ExitStack() as stack:
        try:
            make_folders(folder)
            stack.enter_context(locked(folder / LOCK_FILE, busy=busy, wait_seconds=wait_seconds))
        except OSError as error:
            raise host_error(error, f"locking {folder}") from None
        yield


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


def load_memory(workspace: "Workspace", channel_id: str) -> Memory:
    """What is remembered of a channel's ledger: by the state, or by the file beside the copy where the state is new."""
    with workspace.state.reading() as tx:
        memory = get_memory(tx, channel_id)
    if memory != Memory():
        return memory
    try:
        with (workspace.root / WITNESS_FOLDER / channel_id / MEMORY_FILE).open("rb") as file:
            return read_memory(file.read(MEMORY_MAX_BYTES).decode(), channel_id)
    except (OSError, UnicodeDecodeError, StateError):
        return Memory()


def keep_memory(workspace: "Workspace", channel_id: str, memory: Memory) -> None:
    """Write the file that a state made anew begins with. Raises HostError."""
    folder = workspace.root / WITNESS_FOLDER / channel_id
    try:
        make_folders(folder)
        write_durably(folder / MEMORY_FILE, write_memory(memory).encode())
    except OSError as error:
        raise host_error(error, f"writing to {folder}") from None


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
