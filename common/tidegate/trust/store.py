"""The folder ``trust/``: which roots this host trusts, kept through crashes.

Low side: ``channel.root``, the own channel's chain. High side: ``site.root``, whose newest version lists the pinned
channels, and ``channels/<channel id>.root`` for each of them. Every file is a whole chain and is verified whenever it
is read; a channel's file counts only while the site root pins it. Writers hold a lock, and replace files durably.
Format: docs/format/trust.md, "Where it is stored" and "Chain".
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tidegate import clock
from tidegate.errors import ChannelUnknownError, NotInitialisedError, RefusedError, RotationError, TrustError
from tidegate.files import host_error, locked, make_folders, write_durably
from tidegate.trust.changes import RootChange, changes_between
from tidegate.trust.keys import Signer
from tidegate.trust.payload import ChannelPin, Limits, RoleName, Root, RootType
from tidegate.trust.root import (
    CHANNEL_CHAIN_MAX_BYTES,
    SITE_CHAIN_MAX_BYTES,
    Chain,
    continue_chain,
    parse_chain,
    read_chain_id,
)
from tidegate.trust.rotation import pin_channel, unpin_channel

CHANNEL_FILE = "channel.root"
SITE_FILE = "site.root"
CHANNELS_FOLDER = "channels"
LOCK_WAIT_SECONDS = 10.0
_RESTORE = "restore this file from a backup, or pin the channel again"


@dataclass(frozen=True, slots=True)
class PinnedChannel:
    """A channel that the site root trusts, and the newest root of it that is stored."""

    channel_id: str
    name: str
    root: Root
    limits: Limits | None = None


class TrustStore:
    """The roots under one folder, the ``trust`` folder of a Tidegate root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    # --- the own root -------------------------------------------------------------------------

    def own_channel(self) -> Chain:
        """Low side: the own channel's chain; raises NotInitialisedError where there is none."""
        return self._read_own(CHANNEL_FILE, RootType.CHANNEL)

    def site_chain(self) -> Chain:
        """High side: all versions of the site root; raises NotInitialisedError where there is none."""
        return self._read_own(SITE_FILE, RootType.SITE)

    def site_root(self) -> Root:
        """High side: the newest site root."""
        return self.site_chain().newest

    def start(self, chain: Chain) -> None:
        """Write the first own root of this host; raises TrustError where there is one already."""
        path = self.folder / _own_file(chain)
        with self._writing():
            if path.exists():
                raise TrustError(f"{path}: exists already; a root is replaced by rotation only")
            _write(path, chain)

    def advance_own(self, chain: Chain) -> RootChange:
        """Replace the own chain (channel or site) by a longer one that continues it; raises RotationError."""
        path = self.folder / _own_file(chain)
        with self._writing():
            return _advance(path, self._read_own(path.name, chain.newest.type), chain.to_whole_bytes())

    # --- pinned channels ----------------------------------------------------------------------

    def list(self) -> tuple[PinnedChannel, ...]:
        """The channels that the site root pins, by name."""
        pins = (self.site_root().channels or {}).items()
        pinned = (
            PinnedChannel(channel_id, pin.name, self._read_pinned(channel_id).newest, pin.limits)
            for channel_id, pin in pins
        )
        return tuple(sorted(pinned, key=lambda item: item.name))

    def chains(self) -> tuple[Chain, ...]:
        """The chains of all channels trusted here: the pinned ones, on the low side the own one."""
        if self._is_low:
            return (self.own_channel(),)
        return tuple(self._read_pinned(channel_id) for channel_id in self.site_root().channels or {})

    def get(self, channel_id: str) -> Chain | None:
        """The stored chain of a channel that is trusted here (low side: the own one); None where it is not."""
        if self._is_low:
            own = self.own_channel()
            return own if own.channel_id == channel_id else None
        return self._read_pinned(channel_id) if channel_id in (self.site_root().channels or {}) else None

    def find_carrier(self, key_id: str) -> Chain | None:
        """The trusted chain whose newest root has this carrier key: for a medium whose preamble cannot be read."""
        return next((chain for chain in self.chains() if key_id in chain.newest.role_keys(RoleName.CARRIER)), None)

    def pin(
        self, chain: Chain, signer: Signer, *more: Signer, created: int | None = None, limits: Limits | None = None
    ) -> Root:
        """Trust a channel: a new version of the site root, signed by the site's root key or keys.

        The caller has compared the fingerprint. Pinned already: its chain is advanced, and the site root stays.
        Returns the newest site root. Raises TrustError (not a channel's, name taken), RotationError.
        """
        if chain.newest.type is not RootType.CHANNEL:
            raise TrustError(f"{chain.newest.label}: only a channel can be pinned")
        with self._writing():
            site = self.site_chain()
            pins = site.newest.channels or {}
            _check_name_free(chain, {item: pin.name for item, pin in pins.items()})
            self._store_channel(chain)  # first the chain, then what makes it count
            if chain.channel_id in pins and limits in (None, pins[chain.channel_id].limits):
                return site.newest
            pin = ChannelPin(chain.newest.name, limits)
            longer = pin_channel(site, chain.channel_id, pin, (signer, *more), _time(created))
            _write(self.folder / SITE_FILE, longer)
            return longer.newest

    def remove(self, name: str, signer: Signer, *more: Signer, created: int | None = None) -> Root:
        """Trust a channel no more; `name` is its name or id. The chain's file stays as a memory against older roots."""
        with self._writing():
            site = self.site_chain()
            pins = site.newest.channels or {}
            found = [item for item, pin in pins.items() if name in (pin.name, item)]
            if not found:
                raise ChannelUnknownError(f"channel {name} is not pinned here")
            longer = unpin_channel(site, found[0], (signer, *more), _time(created))
            _write(self.folder / SITE_FILE, longer)
            return longer.newest

    def advance(self, chain: Chain | bytes | memoryview) -> RootChange:
        """Take a newer chain of a pinned channel, as it was carried, and store it before anything relies on it.

        `chain` may be the bytes of a carried chain, which need not begin with version 1. An older chain changes
        nothing. Raises ChannelUnknownError, RotationError, FormatError, SignatureError.
        """
        if isinstance(chain, Chain):
            channel_id, data = chain.channel_id, chain.to_whole_bytes()
        else:
            channel_id, data = read_chain_id(chain), bytes(chain)
        stored = self._trusted(channel_id)
        if continue_chain(stored, data) is stored:
            # The usual case: no lock, and no need of a writable folder.
            return changes_between(stored.newest, stored)
        with self._writing():
            path = self.folder / CHANNEL_FILE if self._is_low else self._path(channel_id)
            return _advance(path, self._trusted(channel_id), data)

    # --- files --------------------------------------------------------------------------------

    @property
    def _is_low(self) -> bool:
        return (self.folder / CHANNEL_FILE).exists()

    def _trusted(self, channel_id: str) -> Chain:
        chain = self.get(channel_id)
        if chain is None:
            raise ChannelUnknownError(f"channel {channel_id[:16]} is not pinned here")
        return chain

    def _path(self, channel_id: str) -> Path:
        return self.folder / CHANNELS_FOLDER / f"{channel_id}.root"

    def _read_own(self, name: str, type_: RootType) -> Chain:
        path = self.folder / name
        if not path.exists():
            raise NotInitialisedError(f"{path}: this host has no {type_} root")
        chain = _read(path, SITE_CHAIN_MAX_BYTES if type_ is RootType.SITE else CHANNEL_CHAIN_MAX_BYTES)
        if chain.newest.type is not type_:
            raise TrustError(f"{path}: is a {chain.newest.type} root, not a {type_} root")
        return chain

    def _read_pinned(self, channel_id: str) -> Chain:
        path = self._path(channel_id)
        chain = _read(path, CHANNEL_CHAIN_MAX_BYTES)
        if chain.channel_id != channel_id:
            raise TrustError(f"{path}: holds the root of channel {chain.channel_id[:16]}")
        return chain

    def _store_channel(self, chain: Chain) -> None:
        path = self._path(chain.channel_id)
        if path.exists():
            _advance(path, self._read_pinned(chain.channel_id), chain.to_whole_bytes())
            return
        make_folders(path.parent)
        _write(path, chain)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            make_folders(self.folder)
            with locked(
                self.folder / ".lock", busy="another command changes what is trusted", wait_seconds=LOCK_WAIT_SECONDS
            ):
                yield
        except OSError as error:
            raise host_error(error, "writing what is trusted") from None


def _own_file(chain: Chain) -> str:
    return CHANNEL_FILE if chain.newest.type is RootType.CHANNEL else SITE_FILE


def _check_name_free(chain: Chain, names: dict[str, str]) -> None:
    name = chain.newest.name
    for channel_id, taken in names.items():
        if taken == name and channel_id != chain.channel_id:
            raise TrustError(
                f"another channel {name} is pinned already: {channel_id[:16]}, not {chain.channel_id[:16]}",
                hint=f'if it was replaced on the low side, run "tidegate trust remove {name}" first',
            )


def _advance(path: Path, stored: Chain, data: bytes) -> RootChange:
    longer = continue_chain(stored, data)
    if longer is not stored:
        _write(path, longer)
    return changes_between(stored.newest, longer)


def _read(path: Path, max_bytes: int) -> Chain:
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
        return _parse(data, max_bytes)
    except FileNotFoundError:
        raise TrustError(f"{path}: is missing", hint=_RESTORE) from None
    except OSError as error:
        raise host_error(error, "reading what is trusted") from None
    except (RefusedError, RotationError) as error:
        # Our own file: not a bundle is refused, but this host's trust is damaged.
        raise TrustError(f"{path}: {error.message}", hint=_RESTORE) from None


@functools.lru_cache(maxsize=16)
def _parse(data: bytes, max_bytes: int) -> Chain:
    """The same bytes give the same chain: each bundle asks, and a listener takes thousands of them."""
    return parse_chain(data, max_bytes=max_bytes)


def _write(path: Path, chain: Chain) -> None:
    write_durably(path, chain.to_whole_bytes())


def _time(created: int | None) -> int:
    return clock.now() if created is None else created
