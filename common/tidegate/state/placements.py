"""What this site put where: one row for each name at each target, as it was read back when it was loaded.

Reports of old and new names are made of it, and what upstream removed is found by it. A target is written as
``load --to`` takes it; a stage as ``stage:NAME``. It is a memory and no proof: what is there now, only the target says.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tidegate import clock
from tidegate.state.db import Transaction

STAGE = "stage:"


@dataclass(frozen=True, slots=True)
class Placement:
    """One artifact at one target. `digest` is what stands there, `root` what the bundle brought."""

    target: str
    channel_id: str
    name: str
    place: str
    digest: str
    root: str
    kind: str
    expect: str
    bundle_id: str
    loaded: int = 0


_COLUMNS = "target, channel_id, name, place, digest, root, kind, expect, bundle_id, loaded"


def put_placements(tx: Transaction, placements: Iterable[Placement]) -> None:
    """Remember them, in place of what stood under the same names."""
    now = clock.now()
    for item in placements:
        tx.execute(
            f"INSERT OR REPLACE INTO placements ({_COLUMNS}) VALUES ({', '.join('?' * 10)})",
            (
                item.target,
                item.channel_id,
                item.name,
                item.place,
                item.digest,
                item.root,
                item.kind,
                item.expect,
                item.bundle_id,
                item.loaded or now,
            ),
        )


def list_placements(tx: Transaction, target: str) -> tuple[Placement, ...]:
    """All of a target, by name."""
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM placements WHERE target = ? ORDER BY name, channel_id",
        (target,),
    )
    return tuple(Placement(*row) for row in rows)


def list_targets(tx: Transaction) -> tuple[str, ...]:
    """Every target that something was put to."""
    return tuple(row[0] for row in tx.execute("SELECT DISTINCT target FROM placements ORDER BY target"))


def remove_placement(tx: Transaction, item: Placement) -> None:
    """Forget one: it is not there any more."""
    tx.execute(
        "DELETE FROM placements WHERE target = ? AND channel_id = ? AND name = ?",
        (item.target, item.channel_id, item.name),
    )
