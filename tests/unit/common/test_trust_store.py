"""The folder of trusted roots: pinning, unpinning, advancing, and what survives."""

from pathlib import Path

import pytest

from tidegate.errors import ChannelUnknownError, NotInitialisedError, RotationError, TrustError
from tidegate.trust.keys import FileSigner
from tidegate.trust.payload import Limits
from tidegate.trust.root import Chain
from tidegate.trust.rotation import create_channel_root, create_site_root, replace_key, rotate
from tidegate.trust.store import TrustStore

CREATED = 1_767_225_600  # 2026-01-01T00:00:00Z


def signer(number: int, holder: str) -> FileSigner:
    return FileSigner(bytes([number]) * 32, holder)


ROOT, RELEASE, CARRIER, LEDGER = signer(1, "ben"), signer(2, "carla"), signer(3, "link"), signer(4, "log")
SITE_ROOT, SITE_LEDGER = signer(11, "dora"), signer(12, "high-log")


def channel(name: str = "plant", root: FileSigner = ROOT) -> Chain:
    signers = {"root": [root], "release": [RELEASE], "carrier": [CARRIER], "ledger": [LEDGER]}
    return create_channel_root(name, ["plant-7"], signers, CREATED)


def high(folder: Path) -> TrustStore:
    store = TrustStore(folder / "trust")
    store.start(create_site_root("plant-7", {"root": [SITE_ROOT], "ledger": [SITE_LEDGER]}, CREATED))
    return store


def files_of(store: TrustStore) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.folder.rglob("*.root")}


def test_a_new_site_pins_nothing(tmp_path: Path) -> None:
    assert high(tmp_path).list() == ()


def test_a_host_without_a_root_says_that_it_is_not_initialised(tmp_path: Path) -> None:
    with pytest.raises(NotInitialisedError):
        TrustStore(tmp_path).site_root()
    with pytest.raises(NotInitialisedError):
        TrustStore(tmp_path).own_channel()


def test_start_never_replaces_a_root(tmp_path: Path) -> None:
    store = high(tmp_path)
    with pytest.raises(TrustError, match="exists already"):
        store.start(create_site_root("other", {"root": [SITE_ROOT], "ledger": [SITE_LEDGER]}, CREATED))


def test_pin_makes_the_next_version_of_the_site_root_and_is_there_after_reopening(tmp_path: Path) -> None:
    chain = channel()
    root = high(tmp_path).pin(chain, SITE_ROOT, created=CREATED)
    assert root.version == 2
    reopened = TrustStore(tmp_path / "trust")
    assert [(item.name, item.channel_id) for item in reopened.list()] == [("plant", chain.channel_id)]
    assert reopened.get(chain.channel_id) == chain


def test_pin_again_changes_nothing(tmp_path: Path) -> None:
    store = high(tmp_path)
    store.pin(channel(), SITE_ROOT, created=CREATED)
    before = files_of(store)
    assert store.pin(channel(), SITE_ROOT, created=CREATED + 9).version == 2
    assert files_of(store) == before


def test_pin_again_with_other_limits_makes_a_new_site_root(tmp_path: Path) -> None:
    store = high(tmp_path)
    store.pin(channel(), SITE_ROOT, created=CREATED)
    assert store.pin(channel(), SITE_ROOT, created=CREATED, limits=Limits(kinds=("files",))).version == 3
    assert store.list()[0].limits == Limits(kinds=("files",))


def test_pin_refuses_a_second_channel_of_the_same_name(tmp_path: Path) -> None:
    store = high(tmp_path)
    store.pin(channel(), SITE_ROOT, created=CREATED)
    with pytest.raises(TrustError, match="another channel plant"):
        store.pin(channel(root=signer(5, "eve")), SITE_ROOT, created=CREATED)
    assert len(store.list()) == 1


def test_pin_refuses_a_site_root(tmp_path: Path) -> None:
    store = high(tmp_path)
    with pytest.raises(TrustError, match="only a channel"):
        store.pin(store.site_chain(), SITE_ROOT, created=CREATED)


def test_pin_refuses_a_key_that_is_not_the_sites_root_key(tmp_path: Path) -> None:
    store = high(tmp_path)
    with pytest.raises(RotationError, match="signed by 0 of 1 holders that role root needs"):
        store.pin(channel(), signer(6, "eve"), created=CREATED)
    assert store.list() == ()


def test_remove_unpins_by_name_and_the_chain_does_not_count_any_more(tmp_path: Path) -> None:
    store, chain = high(tmp_path), channel()
    store.pin(chain, SITE_ROOT, created=CREATED)
    store.remove("plant", SITE_ROOT, created=CREATED)
    assert store.get(chain.channel_id) is None
    assert store.list() == ()
    with pytest.raises(ChannelUnknownError):
        store.advance(chain)


def test_remove_refuses_a_channel_that_is_not_pinned(tmp_path: Path) -> None:
    with pytest.raises(ChannelUnknownError, match="plant"):
        high(tmp_path).remove("plant", SITE_ROOT, created=CREATED)


def test_a_channel_pinned_again_keeps_the_newest_root_that_was_ever_seen(tmp_path: Path) -> None:
    store, old = high(tmp_path), channel()
    newer = replace_key(old, RELEASE.key_id, signer(7, "carla"), [ROOT], CREATED)
    store.pin(newer, SITE_ROOT, created=CREATED)
    store.remove("plant", SITE_ROOT, created=CREATED)
    store.pin(old, SITE_ROOT, created=CREATED)
    assert store.get(old.channel_id) == newer


def test_advance_stores_a_longer_chain_and_says_what_changed(tmp_path: Path) -> None:
    store, old = high(tmp_path), channel()
    store.pin(old, SITE_ROOT, created=CREATED)
    fresh = signer(7, "carla")
    newer = replace_key(old, RELEASE.key_id, fresh, [ROOT], CREATED, reason="lost")
    change = store.advance(newer.to_bytes())
    assert change.is_change
    assert [item.key_id for item in change.added] == [fresh.key_id]
    assert [(item.key_id, item.holder, item.roles) for item in change.revoked] == [
        (RELEASE.key_id, "carla", ("release",))
    ]
    assert change.removed == ()
    assert "version 1 to 2" in change.describe()
    assert TrustStore(store.folder).get(old.channel_id) == newer


def test_advance_catches_up_over_three_missed_rotations(tmp_path: Path) -> None:
    store, chain = high(tmp_path), channel()
    store.pin(chain, SITE_ROOT, created=CREATED)
    newest = chain
    for number in (7, 8, 9):
        key = next(iter(newest.newest.role_keys("carrier")))
        newest = replace_key(newest, key, signer(number, "link"), [ROOT], CREATED)
    assert store.advance(newest).chain == newest


def test_advance_with_an_older_chain_changes_nothing_and_gives_the_stored_one(tmp_path: Path) -> None:
    store, old = high(tmp_path), channel()
    newer = rotate(old, [ROOT], CREATED)
    store.pin(newer, SITE_ROOT, created=CREATED)
    before = files_of(store)
    change = store.advance(old)
    assert not change.is_change
    assert change.chain == newer
    assert files_of(store) == before


def test_advance_refuses_another_version_with_a_stored_number(tmp_path: Path) -> None:
    store, chain = high(tmp_path), channel()
    store.pin(rotate(chain, [ROOT], CREATED), SITE_ROOT, created=CREATED)
    before = files_of(store)
    with pytest.raises(RotationError, match="version 2 differs"):
        store.advance(rotate(chain, [ROOT], CREATED + 1))
    assert files_of(store) == before


def test_advance_refuses_a_channel_that_nobody_pinned(tmp_path: Path) -> None:
    with pytest.raises(ChannelUnknownError):
        high(tmp_path).advance(channel())


def test_advance_takes_the_newest_part_of_a_chain_that_outgrew_its_preamble(tmp_path: Path) -> None:
    store, chain = high(tmp_path), channel()
    for _ in range(30):
        chain = rotate(chain, [ROOT], CREATED)
    store.pin(chain, SITE_ROOT, created=CREATED)
    for _ in range(5):
        chain = rotate(chain, [ROOT], CREATED)
    carried = chain.to_bytes()
    assert len(carried) <= 65536 < len(chain.to_whole_bytes())
    assert store.advance(carried).chain == chain


def test_advance_refuses_a_chain_that_does_not_reach_back_to_the_stored_version(tmp_path: Path) -> None:
    store, chain = high(tmp_path), channel()
    store.pin(chain, SITE_ROOT, created=CREATED)
    longer = rotate(rotate(chain, [ROOT], CREATED), [ROOT], CREATED)
    tail = b"".join(line + b"\n" for line in longer.to_whole_bytes().split(b"\n")[1:] if line)
    with pytest.raises(RotationError, match="begins with version 2"):
        store.advance(tail)


def test_find_carrier_knows_the_channel_of_a_carrier_key(tmp_path: Path) -> None:
    store, chain = high(tmp_path), channel()
    store.pin(chain, SITE_ROOT, created=CREATED)
    assert store.find_carrier(CARRIER.key_id) == chain
    assert store.find_carrier(RELEASE.key_id) is None


def test_the_low_side_keeps_its_own_chain_and_trusts_no_other(tmp_path: Path) -> None:
    store, chain = TrustStore(tmp_path), channel()
    store.start(chain)
    assert store.own_channel() == chain
    assert store.get(chain.channel_id) == chain
    assert store.get("0" * 64) is None
    longer = rotate(chain, [ROOT], CREATED)
    assert store.advance_own(longer).is_change
    assert store.chains() == (longer,)


def test_advance_own_refuses_what_does_not_continue_the_own_chain(tmp_path: Path) -> None:
    store = TrustStore(tmp_path)
    store.start(channel())
    with pytest.raises(RotationError):
        store.advance_own(channel(root=signer(5, "eve")))


@pytest.mark.parametrize("damage", [b"", b"\n", b"{}\n", b"\xff"])
def test_a_damaged_file_is_an_error_of_trust_that_names_the_file(tmp_path: Path, damage: bytes) -> None:
    store, chain = high(tmp_path), channel()
    store.pin(chain, SITE_ROOT, created=CREATED)
    path = store.folder / "channels" / f"{chain.channel_id}.root"
    path.write_bytes(damage)
    with pytest.raises(TrustError, match=path.name):
        store.get(chain.channel_id)
    path.unlink()
    with pytest.raises(TrustError, match="is missing"):
        store.get(chain.channel_id)


def test_another_channels_chain_in_the_file_of_a_pinned_one_is_not_taken(tmp_path: Path) -> None:
    store, chain = high(tmp_path), channel()
    store.pin(chain, SITE_ROOT, created=CREATED)
    other = channel(root=signer(5, "eve"))
    (store.folder / "channels" / f"{chain.channel_id}.root").write_bytes(other.to_bytes())
    with pytest.raises(TrustError, match=other.channel_id[:16]):
        store.get(chain.channel_id)
