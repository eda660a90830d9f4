"""Acts and proposals come as files from elsewhere: any bytes end in a value or one of our errors."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import TidegateError
from tidegate.trust.acts import Act, ActKind, read_act, sign_act
from tidegate.trust.keys import FileSigner
from tidegate.trust.proposals import propose, read_proposal
from tidegate.trust.rotation import create_channel_root, create_site_root, next_root

CREATED = 1_772_000_000
KEYS = {
    name: FileSigner(sha256(name.encode()).digest(), name) for name in ("ben", "carla", "root", "carrier", "ledger")
}
SITE = create_site_root(
    "plant-7",
    {"root": [KEYS["root"]], "ledger": [KEYS["ledger"]], "approver": [KEYS["ben"], KEYS["carla"]]},
    CREATED,
)
CHANNEL = create_channel_root(
    "plant",
    ("plant-7",),
    {
        "root": [KEYS["root"]],
        "release": [KEYS["ben"]],
        "carrier": [KEYS["carrier"]],
        "ledger": [KEYS["ledger"]],
    },
    CREATED,
)
ACT = sign_act(
    Act(ActKind.LOWER_FLOOR, SITE.channel_id, "2099-01-01T00:00:00Z", "2026-03-01T00:00:00Z", "a wrong clock"),
    [KEYS["ben"]],
).to_bytes()
PROPOSAL = propose(CHANNEL, next_root(CHANNEL, CREATED, epoch=2), [KEYS["root"]]).to_bytes()


@given(st.binary(max_size=400))
def test_any_bytes_as_an_act_end_in_a_value_or_one_of_our_errors(data: bytes) -> None:
    with pytest.raises(TidegateError):
        read_act(data, SITE.newest)


@given(st.integers(0, len(ACT) - 1), st.integers(1, 255))
def test_an_act_with_one_byte_changed_is_never_believed(place: int, flip: int) -> None:
    changed = ACT[:place] + bytes([ACT[place] ^ flip]) + ACT[place + 1 :]
    with pytest.raises(TidegateError):
        read_act(changed, SITE.newest)


def test_a_whole_act_is_read_with_its_signer() -> None:
    act, _, signers = read_act(ACT, SITE.newest)
    assert (act.after, [signer.holder for signer in signers]) == ("2026-03-01T00:00:00Z", ["ben"])


@given(st.binary(max_size=400))
def test_any_bytes_as_a_proposal_end_in_one_of_our_errors(data: bytes) -> None:
    with pytest.raises(TidegateError):
        read_proposal(data)


@given(st.integers(0, len(PROPOSAL) - 1), st.integers(1, 255))
def test_a_proposal_with_one_byte_changed_is_never_taken_up(place: int, flip: int) -> None:
    changed = PROPOSAL[:place] + bytes([PROPOSAL[place] ^ flip]) + PROPOSAL[place + 1 :]
    with pytest.raises(TidegateError):
        read_proposal(changed).taken_up()


@given(st.integers(0, len(PROPOSAL) - 1))
def test_a_proposal_that_is_cut_short_is_refused(length: int) -> None:
    with pytest.raises(TidegateError):
        read_proposal(PROPOSAL[:length])


def test_a_whole_proposal_is_taken_up() -> None:
    proposal = read_proposal(PROPOSAL)
    assert proposal.lacks() == ()
    assert proposal.taken_up().newest.epoch == 2
