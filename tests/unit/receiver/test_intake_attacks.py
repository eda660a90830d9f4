"""Attacks on receiving by somebody who prepares a medium: what its volumes say of each other, how many there are."""

from pathlib import Path

import pytest
from made_bundles import content
from receiver_world import HighSide, LowSide

from tidegate.trust.rotation import revoke_key
from tidegate_receiver.outcomes import OutcomeKind

BLOBS = [content(1, 60_000)]
CREATED = 1_772_000_000


@pytest.fixture
def low() -> LowSide:
    return LowSide()


@pytest.fixture
def high(tmp_path: Path, low: LowSide) -> HighSide:
    return HighSide.make(tmp_path / "high", low)


@pytest.mark.parametrize("first", ["old", "new"])
def test_a_root_that_revokes_a_key_counts_for_every_volume_of_the_medium_that_brings_it(
    tmp_path: Path, first: str
) -> None:
    low = LowSide()
    thief = low.add_release_key("thief", "tom")
    high = HighSide.make(tmp_path / "high", low)
    stick = tmp_path / "stick"
    low.write(low.bundle(BLOBS, signers=[thief], sequence=1), tmp_path / "old")
    low.chain = revoke_key(low.chain, thief.key_id, [low.keys["root"]], CREATED)
    low.write(low.bundle([content(2, 60_000)], sequence=2), tmp_path / "new")
    for name in ("old", "new"):  # folders are looked through by name
        target = stick / "TIDEGATE" / ("0" if name == first else "1")
        target.parent.mkdir(parents=True, exist_ok=True)
        next((tmp_path / name / "TIDEGATE").iterdir()).rename(target)
    outcomes = {outcome.sequence: outcome for outcome in high.receive(stick)}
    assert (outcomes[1].kind, outcomes[1].exit_code) == (OutcomeKind.REFUSED, 34)
    assert outcomes[2].kind is OutcomeKind.RECEIVED
