"""What of the ledger the low side lets ride: since what was confirmed, bounded, and the same for every copy."""

import random
from pathlib import Path

import pytest
from made_roots import low_side

from tidegate.ledger.checkpoint import NoteKey
from tidegate.ledger.entries import Event, entry
from tidegate.ledger.riding import Riding, read_riding
from tidegate.slip.numbers import NO_NUMBERS, Numbers
from tidegate.state.bundles import BundleRow, BundleState, put_bundle
from tidegate.workspace import Workspace
from tidegate_sender.riding import BUDGET_LEAST, EARLIER_BUNDLES, SIZES_KEY, ledger_pieces
from tidegate_sender.slips.memory import Confirmed, put_confirmed

SITES = ("plant-7", "plant-8")


@pytest.fixture
def low(tmp_path: Path) -> Workspace:
    return low_side(tmp_path, sites=SITES)


def record(low: Workspace, count: int) -> None:
    """Entries that hardly compress, as those of scanners and media do not."""
    chance = random.Random(count)
    with low.state.transaction() as tx:
        for number in range(count):
            noise = chance.randbytes(100).hex()
            tx.queue(entry(Event.COLLECT, subject=f"{count}-{number}", step="collect", detail=noise))
    low.recorder.drain()


def sent(low: Workspace, sequence: int, size: int) -> None:
    channel = low.trust.own_channel().channel_id
    detail = {"epoch": 1, SIZES_KEY: [size]}
    row = BundleRow(f"{sequence:064x}", channel, sequence, "low", BundleState.SENT, 0, 1, 1, detail=detail)
    with low.state.transaction() as tx:
        put_bundle(tx, row)


def confirm(low: Workspace, site: str, held: str) -> None:
    with low.state.transaction() as tx:
        channel = low.trust.own_channel().channel_id
        put_confirmed(tx, channel, 1, site, Confirmed(Numbers.parse(held), NO_NUMBERS, NO_NUMBERS))


def riding(low: Workspace, *sites: str, stored: int = 0) -> tuple[Riding, int]:
    pieces, size = ledger_pieces(low, sites or SITES, stored)
    key = NoteKey(low.origin, low.signer("ledger").public)
    found = read_riding(pieces, (key,))
    assert found.faults == ()
    return found, size


def first(found: Riding) -> int:
    assert found.entries is not None
    return found.entries.first


def test_all_entries_ride_as_long_as_nothing_is_confirmed(low: Workspace) -> None:
    record(low, 20)
    found, size = riding(low)
    assert size == 21  # with that of the first day
    assert first(found) == 0
    assert found.proofs == ()


def test_entries_ride_since_what_every_site_of_the_audience_has_confirmed(low: Workspace) -> None:
    record(low, 30)
    for number, size in ((1, 5), (2, 12), (3, 25)):
        sent(low, number, size)
    confirm(low, "plant-7", "1-3")
    assert first(riding(low)[0]) == 0
    assert first(riding(low, "plant-7")[0]) == 25
    confirm(low, "plant-8", "2")
    assert first(riding(low)[0]) == 12
    assert [proof.size for proof in riding(low)[0].proofs] == [5, 12, 25]


def test_proofs_reach_back_to_the_sixteen_bundles_before_and_to_what_was_confirmed(low: Workspace) -> None:
    record(low, 60)
    for number in range(1, 31):
        sent(low, number, 2 * number)
    confirm(low, "plant-7", "3")
    found, _ = riding(low, "plant-7")
    last = [2 * number for number in range(31 - EARLIER_BUNDLES, 31)]
    assert [proof.size for proof in found.proofs] == [6, *last]


def test_what_rides_is_bounded_and_larger_bundles_bear_more(low: Workspace) -> None:
    record(low, 2000)
    small, large = riding(low)[0], riding(low, stored=100 * 2 * BUDGET_LEAST)[0]
    assert 0 < first(large) < first(small) < 2000
    pieces, _ = ledger_pieces(low, SITES, 0)
    assert sum(len(piece.data) for piece in pieces) < BUDGET_LEAST + 4096
    assert len(small.entries.nodes) == first(small).bit_count()  # type: ignore[union-attr]


def test_an_entry_that_is_larger_than_the_bound_rides_alone(low: Workspace) -> None:
    chance = random.Random(1)
    with low.state.transaction() as tx:
        for number in range(4):
            names = tuple(chance.randbytes(120).hex() for _ in range(128))
            tx.queue(entry(Event.COLLECT, subject=str(number), step="collect", names=names))
    low.recorder.drain()
    found, size = riding(low)
    assert first(found) >= size - 2
