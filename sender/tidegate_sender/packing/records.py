"""Numbers and records of packing: which number a bundle gets, what it replaces, and the one transaction that counts.

A bundle that was packed and not yet sent gives its number to the next one of the same lists; both rows stay, the older
as discarded.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate import canonical
from tidegate.bundle.manifest import VOID_MAX, VoidNumber
from tidegate.clock import now, parse_time
from tidegate.errors import BusyError, StateError, TidegateError, reason_of
from tidegate.ledger.bundle_facts import bundle_facts
from tidegate.ledger.entries import Event, KeyHolder, Outcome, PreviousBundle, entry
from tidegate.lookup import bundle_path
from tidegate.state.bundles import BundleRow, BundleState, get_bundle, list_bundles, put_bundle
from tidegate.state.channels import ensure_channel, get_channel, take_sequence
from tidegate.state.names import set_names
from tidegate_sender.packing.lists import lists_of
from tidegate_sender.packing.place import Place

if TYPE_CHECKING:
    from tidegate.bundle.manifest import Manifest
    from tidegate.state.db import State, Transaction
    from tidegate.trust.root import Chain, VerifiedSigner
    from tidegate.workspace import Workspace
    from tidegate_sender.packing.content import Content

SIDE = "low"
#: in the spool; whoever gives or takes a number holds it
LOCK_FILE = ".packing.lock"


def find_place(state: "State", chain: "Chain", lists: Iterable[str] | None = None) -> Place:
    """The number that the next bundle of the own channel gets; `lists` it is packed from, None for any.

    A bundle that waits takes none of another list's place: what that one asked for would never leave.
    """
    root = chain.newest
    with state.reading() as tx:
        channel = get_channel(tx, chain.channel_id)
        rows = _living(tx, chain.channel_id, root.epoch)
    following = channel.next_sequence if channel is not None and channel.epoch == root.epoch else 1
    newest = rows[-1] if rows else None
    is_replaced = newest is not None and _is_replaceable(newest, lists)
    sequence = newest.sequence if newest is not None and is_replaced else following
    earlier = [row for row in rows if row.sequence < sequence]
    return Place(chain.channel_id, root.name, root.epoch, sequence, earlier[-1] if earlier else None, newest)


def find_void(state: "State", place: Place) -> tuple[VoidNumber, ...]:
    """The numbers of this epoch that will not come and may still be waited for, rising: the next manifest says so.

    All of the window are told again in each bundle, since the one that told them first may be lost as well.
    """
    with state.reading() as tx:
        rows = list_bundles(tx, channel_id=place.channel_id, states=(BundleState.DISCARDED,))
    void = [
        VoidNumber(row.sequence, row.bundle_id, row.detail.get("withdrawn"))
        for row in rows
        if row.detail.get("void") and row.detail.get("epoch") == place.epoch and row.sequence != place.sequence
    ]
    return tuple(void[-VOID_MAX:])


def void_detail(void: Iterable[VoidNumber]) -> list[list[int | str | None]]:
    """What a bundle says is void, as its row keeps it: number and reason."""
    return [[item.sequence, item.reason] for item in void]


def is_same(workspace: "Workspace", newest: BundleRow, content: "Content") -> bool:
    """Whether `newest` carries the same artifacts under the same names, and is still good for something."""
    carried = {str(item["name"]): (item["digest"], item.get("annotations")) for item in newest.artifacts}
    wanted = {item.name: (item.digest, item.annotations) for item in content.artifacts}
    path = bundle_path(workspace, newest)
    is_lost = newest.state is BundleState.PACKED and (path is None or not path.is_file())
    is_expired = newest.expires is not None and newest.expires <= now()
    return carried == wanted and not is_lost and not is_expired


def remove_leftovers(workspace: "Workspace", part_prefix: str) -> None:
    """Remove what killed packs left in the spool: parts, and bundles that no row names. The caller holds the lock."""
    spool = workspace.folder("spool")
    with workspace.state.reading() as tx:
        named = {bundle_path(workspace, row) for row in list_bundles(tx)}
    for path in spool.iterdir():
        if path.name.startswith(part_prefix) or (path.suffix == ".tgb" and path not in named):
            path.unlink(missing_ok=True)
    for kept in spool.glob("*.cover"):
        if not kept.with_suffix(".tgb").exists():
            kept.unlink(missing_ok=True)


def record_pack(
    workspace: "Workspace",
    place: Place,
    manifest: "Manifest",
    row: BundleRow,
    signers: tuple["VerifiedSigner", ...],
) -> None:
    """The transaction that makes the bundle count: its row, number, names, and the entries pack and sign."""
    with workspace.state.transaction() as tx:
        ensure_channel(tx, place.channel_id, place.channel_name, place.epoch)
        replaced = place.replaced
        if replaced is None:
            taken = take_sequence(tx, place.channel_id)
            if taken != place.sequence:
                raise StateError(f"bundle {place.name}: number {taken} is next by now")
        else:
            _check_unsent(tx, replaced)
            if replaced.bundle_id != row.bundle_id:
                _discard(tx, replaced, row.bundle_id)
        put_bundle(tx, row)
        reset_names(tx, place.channel_id, place.epoch)
        facts = _facts(manifest, row)
        tx.queue(entry(Event.PACK, subject=row.bundle_id, step="pack", **facts, **_sizes(manifest, row)))
        holders = tuple(KeyHolder(signer.holder, signer.key_id) for signer in signers)
        tx.queue(entry(Event.SIGN, subject=row.bundle_id, step="sign", signers=holders, **facts))
    if replaced is not None and replaced.path not in {None, row.path}:
        path = bundle_path(workspace, replaced)
        with contextlib.suppress(OSError):  # the next pack removes it
            if path is not None:
                path.unlink(missing_ok=True)


def record_failure(workspace: "Workspace", place: Place, error: TidegateError) -> None:
    """An entry that packing failed. Where even that cannot be written, the error itself is what is told."""
    with contextlib.suppress(TidegateError), workspace.state.transaction() as tx:
        tx.queue(
            entry(
                Event.PACK,
                subject=place.name,
                step="pack",
                outcome=Outcome.FAILED,
                reason=reason_of(error),
                detail=error.message,
                bundle_name=place.name,
                channel=place.channel_id,
                channel_name=place.channel_name,
                epoch=place.epoch,
                sequence=place.sequence,
            )
        )


def bundle_row(manifest: "Manifest", bundle_id: str, path: Path, size: int, required_size: int) -> BundleRow:
    """The state's row of a packed bundle; `path` is relative to the root."""
    return BundleRow(
        bundle_id=bundle_id,
        channel_id=manifest.channel,
        sequence=manifest.sequence,
        side=SIDE,
        state=BundleState.PACKED,
        created=parse_time(manifest.created),
        size=size,
        content_size=manifest.content_size,
        expires=parse_time(manifest.expires) if manifest.expires else None,
        path=str(path),
        artifacts=tuple(canonical.to_builtins(item) for item in manifest.artifacts),
        previous=manifest.previous.bundle_id if manifest.previous else None,
        detail={
            "epoch": manifest.epoch,
            "stored": manifest.chunks_length,
            "blobs": manifest.tables.blobs.count,
            "chunks": manifest.tables.chunks.count,
            "required": manifest.tables.required.count,
            "required_size": required_size,
            "audience": list(manifest.audience),
            "base": list(manifest.base),
            "voids": void_detail(manifest.void or ()),
            "removed": list(manifest.removed),
        },
    )


def _living(tx: "Transaction", channel_id: str, epoch: int) -> list[BundleRow]:
    """The bundles of this epoch that are not discarded, by number."""
    rows = list_bundles(tx, channel_id=channel_id, states=(BundleState.PACKED, BundleState.SENT))
    return [row for row in rows if row.detail.get("epoch") == epoch]


def _is_replaceable(newest: BundleRow, lists: Iterable[str] | None) -> bool:
    """Whether nothing of it can have left this host (a medium may hold the bytes once writing has begun), nor is lost
    with it: that all of it was asked for by `lists`."""
    is_unsent = newest.state is BundleState.PACKED and not newest.detail.get("write_begun")
    return is_unsent and (lists is None or set(lists_of(newest)) <= set(lists))


def _check_unsent(tx: "Transaction", replaced: BundleRow) -> None:
    """The bundle whose number is taken still is what it was when packing began: else two could go out under it."""
    current = get_bundle(tx, replaced.bundle_id)
    if current is None or current.state is not BundleState.PACKED or current.detail.get("write_begun"):
        raise BusyError(f"bundle {replaced.name}: was sent or discarded while this was packed", hint="pack again")


def _discard(tx: "Transaction", row: BundleRow, by: str) -> None:
    put_bundle(tx, replace(row, state=BundleState.DISCARDED, path=None, detail={**row.detail, "replaced_by": by}))
    tx.queue(
        entry(
            Event.DISCARD,
            subject=row.bundle_id,
            step="discard",
            reason="replaced",
            detail=f"packed again before it was sent, now {by[:16]}",
            **bundle_facts(row),
        )
    )


def reset_names(tx: "Transaction", channel_id: str, epoch: int) -> None:
    """Names from all bundles in order, so that none stays from a bundle that was replaced or discarded."""
    tx.execute("DELETE FROM names WHERE channel_id = ?", (channel_id,))
    for row in _living(tx, channel_id, epoch):
        digests = {str(item["name"]): str(item["digest"]) for item in row.artifacts}
        set_names(tx, channel_id, row.sequence, digests)


def _facts(manifest: "Manifest", row: BundleRow) -> dict[str, Any]:
    previous = manifest.previous
    return {
        **bundle_facts(row, manifest),
        "previous": PreviousBundle(previous.bundle_id, previous.sequence) if previous else None,
        "audience": manifest.audience,
        "classification": manifest.classification,
    }


def _sizes(manifest: "Manifest", row: BundleRow) -> dict[str, Any]:
    names = ("blobs", "chunks", "required")
    return {
        "counts": {"artifacts": len(manifest.artifacts), **{name: int(row.detail[name]) for name in names}},
        "size": manifest.content_size,
        "stored": manifest.chunks_length,
        "kinds": tuple(sorted({item.kind for item in manifest.artifacts})),
        "names": tuple(item.name for item in manifest.artifacts),
    }
