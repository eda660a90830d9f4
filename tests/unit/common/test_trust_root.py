"""Making and following roots. The rules one by one are in the vectors; here is what the helpers do."""

import json
from pathlib import Path

import pytest

from tidegate.errors import FormatError, RotationError, SignatureError, TrustError
from tidegate.trust.changes import changes_between
from tidegate.trust.keys import FileSigner
from tidegate.trust.payload import Limits, RoleName, RootType, parse_root
from tidegate.trust.root import CARRIED_MAX_BYTES, Chain, continue_chain, parse_chain, read_chain_id
from tidegate.trust.rotation import create_channel_root, create_site_root, replace_key, revoke_key, rotate

CREATED = 1_767_225_600  # 2026-01-01T00:00:00Z


def signer(number: int, holder: str) -> FileSigner:
    return FileSigner(bytes([number]) * 32, holder)


BEN, CARLA, DORA = signer(1, "ben"), signer(2, "carla"), signer(6, "dora")
RELEASE, SPARE, CARRIER, LEDGER = signer(3, "carla"), signer(7, "dora"), signer(4, "link"), signer(5, "log")
SIGNERS = {"root": [BEN], "release": [RELEASE, SPARE], "carrier": [CARRIER], "ledger": [LEDGER]}


def channel() -> Chain:
    return create_channel_root("plant", ["plant-8", "plant-7"], SIGNERS, CREATED)


def test_create_channel_root_gives_a_chain_that_reads_back_the_same() -> None:
    chain = channel()
    root = chain.newest
    assert (root.type, root.name, root.version, root.epoch) == (RootType.CHANNEL, "plant", 1, 1)
    assert root.sites == ("plant-7", "plant-8")
    assert root.created == "2026-01-01T00:00:00Z"
    assert set(root.role_keys(RoleName.RELEASE)) == {RELEASE.key_id, SPARE.key_id}
    assert parse_chain(chain.to_bytes()) == chain


def test_the_same_keys_and_time_give_the_same_bytes() -> None:
    assert channel().to_bytes() == channel().to_bytes()


def test_create_channel_root_takes_thresholds_and_limits() -> None:
    limits = {"release": Limits(kinds=("image",), max_bytes=10)}
    chain = create_channel_root("plant", ["a"], SIGNERS, CREATED, thresholds={"release": 2}, limits=limits)
    role = parse_chain(chain.to_bytes()).newest.roles["release"]
    assert (role.threshold, role.limits) == (2, limits["release"])


@pytest.mark.parametrize(
    "signers",
    [
        {"release": [RELEASE], "carrier": [CARRIER], "ledger": [LEDGER]},
        {**SIGNERS, "carrier": [RELEASE]},
        {"root": [BEN]},
    ],
)
def test_create_channel_root_never_makes_a_root_that_a_reader_would_refuse(
    signers: dict[str, list[FileSigner]],
) -> None:
    with pytest.raises((TrustError, FormatError)):
        create_channel_root("plant", ["a"], signers, CREATED)


def test_create_channel_root_needs_a_site() -> None:
    with pytest.raises(FormatError):
        create_channel_root("plant", [], SIGNERS, CREATED)


def test_create_site_root_pins_nothing_and_has_no_sites() -> None:
    root = create_site_root("plant-7", {"root": [BEN], "ledger": [LEDGER]}, CREATED).newest
    assert (root.type, root.channels, root.sites) == (RootType.SITE, {}, None)


def test_a_threshold_of_two_root_keys_needs_both_to_rotate() -> None:
    chain = create_channel_root("plant", ["a"], {**SIGNERS, "root": [BEN, CARLA]}, CREATED, thresholds={"root": 2})
    assert rotate(chain, [BEN, CARLA], CREATED).newest.version == 2
    with pytest.raises(RotationError, match="signed by 1 of 2 holders"):
        rotate(chain, [BEN], CREATED)


def test_rotate_refuses_a_lower_epoch() -> None:
    chain = rotate(channel(), [BEN], CREATED, epoch=3)
    with pytest.raises(RotationError, match="epoch 2 is lower than 3"):
        rotate(chain, [BEN], CREATED, epoch=2)


def test_revoke_key_takes_a_key_out_of_its_roles_for_good() -> None:
    chain = revoke_key(channel(), SPARE.key_id, [BEN], CREATED, reason="left the company")
    root = chain.newest
    assert set(root.role_keys(RoleName.RELEASE)) == {RELEASE.key_id}
    assert root.revoked[0].reason == "left the company"
    with pytest.raises(RotationError, match="was revoked in version 2"):
        rotate(chain, [BEN], CREATED, revoked=())


def test_revoke_key_refuses_the_last_key_of_a_role_and_one_that_is_not_there() -> None:
    with pytest.raises(TrustError, match="only one of role carrier") as caught:
        revoke_key(channel(), CARRIER.key_id, [BEN], CREATED)
    assert "replace" in caught.value.hint
    with pytest.raises(TrustError, match="has no key"):
        revoke_key(channel(), "0" * 64, [BEN], CREATED)


def test_replace_key_of_the_root_role_needs_the_old_key_and_the_new() -> None:
    chain = channel()
    replaced = replace_key(chain, BEN.key_id, DORA, [BEN, DORA], CREATED)
    assert set(replaced.newest.role_keys(RoleName.ROOT)) == {DORA.key_id}
    for signers in ([BEN], [DORA]):
        with pytest.raises(RotationError):
            replace_key(chain, BEN.key_id, DORA, signers, CREATED)


def test_a_revoked_root_key_cannot_make_the_next_version() -> None:
    replaced = replace_key(channel(), BEN.key_id, DORA, [BEN, DORA], CREATED)
    with pytest.raises(RotationError):
        rotate(replaced, [BEN], CREATED)
    assert rotate(replaced, [DORA], CREATED).newest.version == 3


def test_replace_key_without_revoking_leaves_it_out_only() -> None:
    chain = replace_key(channel(), CARRIER.key_id, DORA, [BEN], CREATED, revoke=False)
    assert chain.newest.revoked == ()
    change = changes_between(chain.roots[0], chain)
    assert [item.key_id for item in change.removed] == [CARRIER.key_id]
    assert [item.roles for item in change.added] == [("carrier",)]


def test_channel_id_stays_the_same_through_every_rotation() -> None:
    chain = channel()
    longer = rotate(rotate(chain, [BEN], CREATED), [BEN], CREATED)
    assert longer.channel_id == chain.channel_id
    assert {root.id for root in longer.roots[1:]} == {chain.channel_id}
    assert read_chain_id(longer.to_bytes()) == chain.channel_id


def test_a_chain_too_long_for_a_preamble_travels_as_its_newest_part() -> None:
    chain = channel()
    while len(chain.to_whole_bytes()) <= CARRIED_MAX_BYTES:
        assert chain.to_bytes() == chain.to_whole_bytes()
        stored, chain = chain, rotate(chain, [BEN], CREATED)
    carried = chain.to_bytes()
    assert len(carried) <= CARRIED_MAX_BYTES
    assert chain.to_whole_bytes().endswith(carried)
    assert read_chain_id(carried) == chain.channel_id
    assert continue_chain(stored, carried) == chain
    with pytest.raises(RotationError, match="begins with version 1"):
        parse_chain(carried)


def test_a_chain_above_its_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(FormatError, match="the limit is 100"):
        parse_chain(b"{" * 101, max_bytes=100)


def test_more_lines_than_versions_are_possible_are_refused() -> None:
    with pytest.raises(FormatError, match="1 to 1024 lines"):
        parse_chain(b"{}\n" * 1025)


def test_the_signatures_by_the_old_root_are_checked_before_the_new_one_is_parsed() -> None:
    chain = channel()
    from tidegate.trust.envelope import ROOT_TYPE, sign_envelope

    stranger = sign_envelope(b"no json at all", ROOT_TYPE, [DORA])
    with pytest.raises(RotationError, match="signed by 0"):
        chain.extended(stranger)
    with pytest.raises(FormatError, match="malformed"):
        chain.extended(sign_envelope(b"no json at all", ROOT_TYPE, [BEN]))


def test_describe_names_versions_epoch_and_keys() -> None:
    chain = channel()
    newer = rotate(revoke_key(chain, SPARE.key_id, [BEN], CREATED), [BEN], CREATED, epoch=2)
    text = changes_between(chain.newest, newer).describe()
    assert text == (f"channel root plant: version 1 to 3; epoch 1 to 2; revoked {SPARE.key_id[:16]} (dora: release)")
    assert changes_between(newer.newest, newer).describe() == "channel root plant, version 3: nothing new"


def test_a_payload_in_which_a_flag_stands_for_a_number_is_refused() -> None:
    plain = json.loads(channel().newest.to_bytes())
    with pytest.raises(FormatError):
        parse_root(json.dumps({**plain, "version": True}, separators=(",", ":"), sort_keys=True).encode(), "root")


def test_a_signature_that_does_not_hold_names_its_holder() -> None:
    path = Path(__file__).parents[2] / "vectors" / "trust" / "chains.json"
    case = next(item for item in json.loads(path.read_text()) if item["name"] == "t30_signature_flipped")
    with pytest.raises(SignatureError, match="ben, role root"):
        parse_chain(case["chain"].encode())
