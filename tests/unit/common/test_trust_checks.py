"""Judging announcements and manifests by a channel's newest root."""

from dataclasses import dataclass, replace

import pytest

from tidegate.errors import (
    ChannelUnknownError,
    EpochError,
    ExpiredError,
    KeyRevokedError,
    LimitError,
    SignatureError,
    StaleError,
)
from tidegate.trust.checks import (
    check_channel,
    check_limits,
    check_root_time,
    check_site_limits,
    matches,
    verify_announcement,
    verify_manifest,
)
from tidegate.trust.envelope import ANNOUNCEMENT_TYPE, MANIFEST_TYPE, pae, sign_detached
from tidegate.trust.keys import FileSigner
from tidegate.trust.payload import ChannelPin, Limits
from tidegate.trust.root import Chain
from tidegate.trust.rotation import create_channel_root, create_site_root, pin_channel, replace_key, rotate

CREATED = 1_767_225_600  # 2026-01-01T00:00:00Z


def signer(number: int, holder: str) -> FileSigner:
    return FileSigner(bytes([number]) * 32, holder)


ROOT, RELEASE, CARRIER, LEDGER = signer(1, "ben"), signer(2, "carla"), signer(3, "link"), signer(4, "log")
EVE = {
    "root": signer(21, "eve"),
    "release": signer(22, "eve"),
    "carrier": signer(23, "eve"),
    "ledger": signer(24, "eve"),
}


@dataclass(frozen=True, slots=True)
class Frame:
    key_id: str
    signature: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Artifact:
    name: str = "files/docs"
    kind: str = "files"


@dataclass(frozen=True, slots=True)
class Facts:
    channel_name: str = "plant"
    content_size: int = 1000
    artifacts: tuple[Artifact, ...] = (Artifact(),)
    removed: tuple[str, ...] = ()


def plant() -> Chain:
    signers = {"root": [ROOT], "release": [RELEASE], "carrier": [CARRIER], "ledger": [LEDGER]}
    return create_channel_root("plant", ["plant-7"], signers, CREATED)


def other() -> Chain:
    return create_channel_root("other", ["plant-7"], {role: [key] for role, key in EVE.items()}, CREATED)


def announced(key: FileSigner, payload: bytes = b"{}", payload_type: str = ANNOUNCEMENT_TYPE) -> Frame:
    return Frame(key.key_id, key.sign(pae(payload_type, payload)), payload)


def test_verify_announcement_names_the_carrier_key() -> None:
    found = verify_announcement(announced(CARRIER), plant())
    assert (found.holder, found.key_id) == ("link", CARRIER.key_id)


def test_verify_announcement_refuses_other_bytes_and_other_types() -> None:
    frame = announced(CARRIER)
    for bad in (replace(frame, payload=b"{ }"), announced(CARRIER, payload_type=MANIFEST_TYPE)):
        with pytest.raises(SignatureError, match="link, role carrier"):
            verify_announcement(bad, plant())


def test_a_site_root_on_a_medium_vouches_for_nothing() -> None:
    site = create_site_root("plant-7", {"root": [ROOT], "ledger": [LEDGER], "carrier": [CARRIER]}, CREATED)
    with pytest.raises(SignatureError, match="site root plant-7, version 1 vouches for no bundle"):
        verify_announcement(announced(CARRIER), site)
    with pytest.raises(SignatureError):
        verify_manifest(sign_detached(b"m", MANIFEST_TYPE, [ROOT]), b"m", site)


def test_verify_announcement_refuses_the_release_key_since_roles_are_apart() -> None:
    with pytest.raises(SignatureError, match="of carla is not in role carrier"):
        verify_announcement(announced(RELEASE), plant())


def test_verify_manifest_refuses_the_carrier_key_since_a_link_host_releases_nothing() -> None:
    with pytest.raises(SignatureError, match="of link is not in role release"):
        verify_manifest(sign_detached(b"m", MANIFEST_TYPE, [CARRIER]), b"m", plant())


def test_a_revoked_key_is_named() -> None:
    chain = replace_key(plant(), CARRIER.key_id, signer(9, "link"), [ROOT], CREATED)
    with pytest.raises(KeyRevokedError, match=f"{CARRIER.key_id[:16]} of link is revoked"):
        verify_announcement(announced(CARRIER), chain)


def test_a_revoked_key_is_not_blamed_for_what_it_did_not_sign() -> None:
    chain = replace_key(plant(), CARRIER.key_id, signer(9, "link"), [ROOT], CREATED)
    forged = Frame(CARRIER.key_id, b"\x00" * 64, b"{}")
    with pytest.raises(SignatureError) as caught:
        verify_announcement(forged, chain)
    assert type(caught.value) is SignatureError


def test_a_key_of_another_pinned_channel_is_named() -> None:
    with pytest.raises(ChannelUnknownError, match="of channel other, not of channel plant"):
        verify_announcement(announced(EVE["carrier"]), plant(), others=[other()])
    with pytest.raises(ChannelUnknownError):
        verify_manifest(sign_detached(b"m", MANIFEST_TYPE, [EVE["release"]]), b"m", plant(), others=[other()])
    with pytest.raises(SignatureError, match="nobody"):
        verify_announcement(announced(EVE["carrier"]), plant())


def test_verify_manifest_takes_views_as_they_lie_in_a_larger_buffer() -> None:
    detached = sign_detached(b"manifest", MANIFEST_TYPE, [RELEASE])
    found = verify_manifest(memoryview(detached), memoryview(b"..manifest..")[2:-2], plant())
    assert [item.holder for item in found] == ["carla"]


def test_check_channel_compares_id_and_epoch() -> None:
    chain = rotate(plant(), [ROOT], CREATED, epoch=2)
    check_channel(chain, chain.channel_id, 2, "manifest")
    with pytest.raises(ChannelUnknownError):
        check_channel(chain, other().channel_id, 2, "manifest")
    with pytest.raises(StaleError, match="epoch 1, but channel plant is in epoch 2"):
        check_channel(chain, chain.channel_id, 1, "manifest")
    with pytest.raises(EpochError, match="epoch 3, but channel plant is in epoch 2"):
        check_channel(chain, chain.channel_id, 3, "manifest")


def test_check_root_time_refuses_an_expired_root_only() -> None:
    root = rotate(plant(), [ROOT], CREATED, expires="2026-06-01T00:00:00Z").newest
    check_root_time(root, CREATED)
    check_root_time(plant().newest, 2**40)
    with pytest.raises(ExpiredError, match="2026-06-01"):
        check_root_time(root, CREATED + 365 * 86400)


def test_check_limits_without_limits_allows_everything() -> None:
    check_limits(plant().newest, Facts())


def test_check_site_limits_narrows_what_the_channel_allows() -> None:
    site = create_site_root("plant-7", {"root": [ROOT], "ledger": [LEDGER]}, CREATED)
    chain = plant()
    pinned = pin_channel(site, chain.channel_id, ChannelPin("plant", Limits(kinds=("image",))), [ROOT], CREATED)
    with pytest.raises(LimitError, match="channel plant in site root plant-7, version 2: artifact files/docs: kind"):
        check_site_limits(pinned.newest, chain.channel_id, Facts())
    with pytest.raises(ChannelUnknownError):
        check_site_limits(site.newest, chain.channel_id, Facts())


def test_a_name_that_may_not_be_set_may_not_be_removed_either() -> None:
    root = plant().newest
    release = replace(root.roles["release"], limits=Limits(names=("files/docs",)))
    limited = replace(root, roles={**root.roles, "release": release})
    check_limits(limited, Facts())
    with pytest.raises(LimitError, match="removed name 'app:1' is not allowed, only files/docs"):
        check_limits(limited, Facts(removed=("app:1",)))


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("*", "", True),
        ("a*b", "a/x/b", True),
        ("a*b", "a/x/bc", False),
        ("?", "", False),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("[::1]:5000/*", "[::1]:5000/app:1", True),
        ("A", "a", False),
        ("*" * 30 + "b", "a" * 3000, False),
        ("a\\*", "a\\x", True),
    ],
)
def test_t25_patterns(pattern: str, text: str, expected: bool) -> None:
    assert matches((pattern,), text) is expected
