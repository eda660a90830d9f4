"""High side: which medium this is, by its token, and what is suspicious about it.

A token changes nothing about what is received (docs/format/media-token.md, K-1): it is recorded with the medium, and a
copy, or a counter that went back, is an alarm in the ledger.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.carrier.found import MediumContents
from tidegate.carrier.token import find_carrier_key, judge_token, key_of
from tidegate.ledger.entries import Medium
from tidegate.media.sighting import Sighting, device_of, sight
from tidegate.state.db import Transaction
from tidegate.state.media import MediumRow, MediumState, get_medium, put_medium

if TYPE_CHECKING:
    from tidegate.trust.root import Chain
    from tidegate.workspace import Workspace


def sight_medium(
    workspace: "Workspace", contents: MediumContents, facts: Medium, newest: "Callable[[], Mapping[str, Chain]]"
) -> Sighting:
    """What the medium's token says. `newest` gives the chains with what the medium's own preambles bring: asked only
    where no stored root knows the key, as after a rotation."""
    if contents.token is None:
        return sight(None, None, facts)
    chains = workspace.trust.chains()
    key_id = key_of(contents.token)
    if key_id and not any(find_carrier_key(chain, key_id) for chain in chains):
        chains = tuple(newest().values())
    judged = judge_token(contents.token, chains)
    row = None
    if judged.token is not None:
        with workspace.state.reading() as tx:
            row = get_medium(tx, judged.token.token)
    return sight(judged, row, facts)


def remember_sighting(tx: Transaction, seen: Sighting) -> None:
    """Keep the highest counter, with the file and the device that it came with (K-11)."""
    token = seen.judged.token if seen.judged else None
    if seen.judged is None or token is None:
        return
    if seen.row is not None and token.counter < seen.row.counter:
        return
    old = seen.row.device if seen.row else {}
    put_medium(
        tx,
        MediumRow(
            token=token.token,
            label=token.label,
            channel_id=token.channel,
            state=MediumState.HERE,
            counter=token.counter,
            token_digest=seen.judged.digest,
            registered=clock.parse_time(token.registered),
            updated=clock.now(),
            device={**old, **device_of(seen.facts)},
        ),
    )


def token_remark(seen: Sighting) -> str | None:
    """What the entry of an inserted medium says of a token that does not count."""
    return seen.judged.reason if seen.judged is not None and seen.judged.token is None else None
