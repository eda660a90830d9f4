"""What the low side remembers of the slips of each site: what was confirmed, and the head of the site's ledger.

One value of the state's `meta` for each channel, epoch and site, and one for each site's ledger. The newest slip
counts in place of the one before; codes add single numbers above what it spoke of. What was confirmed may be withdrawn;
the head of the site's ledger is evidence, and stays.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from tidegate import clock
from tidegate.errors import StateError
from tidegate.slip.numbers import NO_NUMBERS, Numbers
from tidegate.slip.site_keys import COSIGNED_KEY, WITNESSED_KEY
from tidegate.state.db import Transaction
from tidegate.state.meta import delete_meta, get_meta, set_meta


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What one site is known to hold and to miss."""

    held: Numbers = NO_NUMBERS
    missing: Numbers = NO_NUMBERS
    #: confirmed by single codes since the last slip
    by_code: Numbers = NO_NUMBERS

    @property
    def all_held(self) -> Numbers:
        return Numbers.of([*self.held, *self.by_code])

    @property
    def highest(self) -> int:
        """The highest number that the last slip spoke of."""
        return max(self.held.highest, self.missing.highest)


@dataclass(frozen=True, slots=True)
class Withdrawals:
    """How often what a site confirmed was withdrawn, and whether no slip was read since the last time."""

    count: int = 0
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Witnessed:
    """The newest head of a site's ledger: by which key, in which slip as it travelled, and its signed note."""

    vkey: str
    size: int
    root: str
    text: str
    note: str


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A head of a site's ledger that this side co-signed: by which key of the site, and the note with both lines."""

    vkey: str
    size: int
    root: str
    note: str


def get_confirmed(tx: Transaction, channel_id: str, epoch: int, site: str) -> Confirmed:
    text = get_meta(tx, _confirmed_key(channel_id, epoch, site))
    if text is None:
        return Confirmed()
    try:
        found = json.loads(text)
        return Confirmed(*(Numbers.parse(found[name]) for name in ("held", "missing", "by_code")))
    except (ValueError, KeyError, TypeError):
        raise StateError(f"what site {site} confirmed is damaged in the state") from None


def put_confirmed(tx: Transaction, channel_id: str, epoch: int, site: str, confirmed: Confirmed) -> None:
    values = {name: str(getattr(confirmed, name)) for name in ("held", "missing", "by_code")}
    set_meta(tx, _confirmed_key(channel_id, epoch, site), json.dumps(values))
    set_meta(tx, _heard_key(channel_id, site), str(clock.now()))


def get_withdrawals(tx: Transaction, channel_id: str, epoch: int, site: str) -> Withdrawals:
    text = get_meta(tx, _withdrawals_key(channel_id, epoch, site))
    if text is None:
        return Withdrawals()
    try:
        return Withdrawals(**json.loads(text))
    except (ValueError, TypeError):
        raise StateError(f"what was withdrawn of slips of site {site} is damaged in the state") from None


def withdraw_confirmed(tx: Transaction, channel_id: str, epoch: int, site: str, count: int) -> None:
    """Forget what the site confirmed and missed; `count` withdrawals there were then. The next slip counts anew."""
    delete_meta(tx, _confirmed_key(channel_id, epoch, site))
    _put_withdrawals(tx, channel_id, epoch, site, Withdrawals(count, is_open=True))


def close_withdrawal(tx: Transaction, channel_id: str, epoch: int, site: str) -> None:
    """A slip was read: the same once more is nothing to do again."""
    before = get_withdrawals(tx, channel_id, epoch, site)
    if before.is_open:
        _put_withdrawals(tx, channel_id, epoch, site, replace(before, is_open=False))


def _put_withdrawals(tx: Transaction, channel_id: str, epoch: int, site: str, now: Withdrawals) -> None:
    set_meta(tx, _withdrawals_key(channel_id, epoch, site), json.dumps(asdict(now)))


def last_heard(tx: Transaction, channel_id: str, site: str) -> int | None:
    """When this side last took a slip or code of the site; None for never."""
    text = get_meta(tx, _heard_key(channel_id, site))
    return int(text) if text is not None and text.isdecimal() else None


def _heard_key(channel_id: str, site: str) -> str:
    return f"slip.heard.{channel_id}.{site}"


def add_code(confirmed: Confirmed, sequence: int) -> Confirmed:
    return replace(confirmed, by_code=Numbers.of([*confirmed.by_code, sequence]))


def held_by_all(tx: Transaction, channel_id: str, epoch: int, sites: Iterable[str]) -> Numbers:
    """The numbers that every one of `sites` is known to hold; none where there is no site."""
    held = [set(get_confirmed(tx, channel_id, epoch, site).all_held) for site in sites]
    return Numbers.of(set.intersection(*held) if held else ())


def get_witnessed(tx: Transaction, site: str) -> Witnessed | None:
    text = get_meta(tx, _witnessed_key(site))
    if text is None:
        return None
    try:
        return Witnessed(**json.loads(text))
    except (ValueError, TypeError):
        raise StateError(f"what was seen of the ledger of site {site} is damaged in the state") from None


def put_witnessed(tx: Transaction, site: str, seen: Witnessed) -> None:
    set_meta(tx, _witnessed_key(site), json.dumps(asdict(seen)))


def put_cosigned(tx: Transaction, site: str, cosigned: Cosigned) -> None:
    set_meta(tx, COSIGNED_KEY + site, json.dumps(asdict(cosigned)))


def get_cosigned(tx: Transaction, site: str) -> Cosigned | None:
    """The newest head of a site's ledger that this side co-signed."""
    text = get_meta(tx, COSIGNED_KEY + site)
    if text is None:
        return None
    try:
        return Cosigned(**json.loads(text))
    except (ValueError, TypeError):
        raise StateError(f"what was co-signed of the ledger of site {site} is damaged in the state") from None


def list_cosigned(tx: Transaction, sites: Iterable[str]) -> tuple[bytes, ...]:
    """The newest co-signed notes of `sites`."""
    found = (get_cosigned(tx, site) for site in sites)
    return tuple(item.note.encode() for item in found if item is not None)


def _confirmed_key(channel_id: str, epoch: int, site: str) -> str:
    return f"slip.confirmed.{channel_id}.{epoch}.{site}"


def _withdrawals_key(channel_id: str, epoch: int, site: str) -> str:
    return f"slip.withdrawals.{channel_id}.{epoch}.{site}"


def _witnessed_key(site: str) -> str:
    return WITNESSED_KEY + site
