"""Receipts: one entry of a ledger with its inclusion proof and the checkpoint, as a C2SP tlog-proof.

Whoever has the ledger's public key checks one offline, with any tool for tlog-proofs or with
docs/operating/check_receipt.py. The extra data is the entry itself; what vouches for it is its hash. Format:
docs/format/witness.md, "Receipts".
"""

from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

from tidegate.errors import BundleUnknownError, LedgerDamagedError
from tidegate.files import host_error, write_durably
from tidegate.ledger.listing import select_entries
from tidegate.ledger.log import Log
from tidegate.ledger.merkle import leaf_hash
from tidegate.ledger.proofs import inclusion_path, is_included

FIRST_LINE = "c2sp.org/tlog-proof@v1"
ENDING = ".tlog-proof"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The receipt of entry `number`; `event` and `time` are what it says."""

    number: int
    event: str
    time: str
    data: bytes


def make_receipts(log: Log, bundle: str) -> tuple[Receipt, ...]:
    """A receipt for each entry about a bundle, under the newest checkpoint.

    Raises BundleUnknownError where there is none, LedgerDamagedError where an entry is not the one that was signed.
    """
    checkpoint = log.checkpoint()
    size = checkpoint.size if checkpoint is not None else 0
    found = select_entries(log.raw_entries(size), bundle=bundle)
    if not found or checkpoint is None:
        raise BundleUnknownError(f"bundle {bundle}: the ledger has no entry about it")
    read = log.node_reader(size)
    made = []
    for item in found:
        path = inclusion_path(item.number, size, read)
        if not is_included(leaf_hash(item.data), item.number, size, checkpoint.root, path):
            raise LedgerDamagedError(
                f"entry {item.number}: is not in the tree of the checkpoint", hint='"tidegate ledger verify" says more'
            )
        lines = [FIRST_LINE, f"extra {b64encode(item.data).decode()}", f"index {item.number}"]
        lines += [b64encode(node).decode() for node in path]
        data = "".join(f"{line}\n" for line in lines).encode() + b"\n" + checkpoint.data
        made.append(Receipt(item.number, item.text("event"), item.text("time"), data))
    return tuple(made)


def write_receipts(receipts: tuple[Receipt, ...], folder: Path, vkey: str) -> None:
    """Write them, and the verifier key, which a careful reader has from elsewhere. Raises HostError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for receipt in receipts:
            write_durably(folder / f"{receipt.number:08d}-{receipt.event}{ENDING}", receipt.data)
        write_durably(folder / "vkey", f"{vkey}\n".encode())
    except OSError as error:
        raise host_error(error, f"writing to {folder}") from None
