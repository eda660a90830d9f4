"""Take back what the slips and codes of a site confirmed: its content rides again until the next one is read.

For a slip that was read by mistake, or of a site that does not hold what it said. Only what it confirmed is forgotten;
the head of the site's ledger that it showed stays, so that no older slip is taken afterwards.
"""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.errors import SlipSiteError
from tidegate.ledger.entries import TEXT_MAX, Entry, Event, RecordedEntry, entry
from tidegate.state.bundles import BundleState, list_bundles
from tidegate.text import check_reason
from tidegate_sender.slips.memory import Confirmed, get_confirmed, get_withdrawals, withdraw_confirmed

if TYPE_CHECKING:
    from tidegate.slip.numbers import Numbers
    from tidegate.state.db import Transaction
    from tidegate.trust.root import Chain
    from tidegate.workspace import Workspace


@dataclass(frozen=True, slots=True)
class SlipWithdrawal:
    """What was known of the site until now, and the bundles that build on it."""

    site: str
    held: "Numbers"
    missing: "Numbers"
    builds_on_it: tuple[str, ...] = ()

    @property
    def is_new(self) -> bool:
        """Whether there was anything to withdraw."""
        return bool(self.held or self.missing)


def withdraw_slip(workspace: "Workspace", site: str, reason: str | None, *, dry_run: bool = False) -> SlipWithdrawal:
    """Forget what `site` confirmed. Raises SlipSiteError for a site that the channel is not for, UsageError."""
    chain = workspace.trust.own_channel()
    site = _own_site(chain, site)
    if reason is not None:
        check_reason(reason)
    if dry_run:
        with workspace.state.reading() as tx:
            return _report(tx, chain, site)
    with workspace.recording(), workspace.state.transaction() as tx:
        done = _report(tx, chain, site)
        if done.is_new:
            count = get_withdrawals(tx, chain.channel_id, chain.newest.epoch, site).count
            withdraw_confirmed(tx, chain.channel_id, chain.newest.epoch, site, count + 1)
            tx.queue(_entry(chain, done, reason))
    return done


def withdraw_again(tx: "Transaction", chain: "Chain", entries: tuple[RecordedEntry, ...]) -> None:
    """After a restore: withdraw what the ledger says was withdrawn, where the state does not know of it.

    What was confirmed after that is forgotten with it where the state is older: it rides again, nothing is claimed.
    """
    counts: Counter[str] = Counter()
    for item in entries:
        fields = item.fields or {}
        about = (item.text("event"), fields.get("channel"), fields.get("epoch"))
        if about == (Event.SLIP_WITHDRAWN, chain.channel_id, chain.newest.epoch):
            counts.update(str(site) for site in fields.get("audience") or ())
    for site, count in counts.items():
        if count > get_withdrawals(tx, chain.channel_id, chain.newest.epoch, site).count:
            withdraw_confirmed(tx, chain.channel_id, chain.newest.epoch, site, count)


def _own_site(chain: "Chain", site: str) -> str:
    """The site as the channel names it: slips have it in capitals."""
    sites = chain.newest.sites or ()
    found = site if site in sites else site.lower()
    if found not in sites:
        raise SlipSiteError(
            f"site {site[:TEXT_MAX]!r}: channel {chain.newest.name} is for {', '.join(sites) or 'no site'}",
            hint='name one of these; "tidegate trust list" shows the sites whose slips are believed',
        )
    return found


def _report(tx: "Transaction", chain: "Chain", site: str) -> SlipWithdrawal:
    before: Confirmed = get_confirmed(tx, chain.channel_id, chain.newest.epoch, site)
    held = before.all_held
    rows = [row for row in list_bundles(tx, channel_id=chain.channel_id) if row.epoch == chain.newest.epoch]
    base = {row.bundle_id for row in rows if row.sequence in held}
    builders = tuple(
        row.name
        for row in rows
        if row.state in (BundleState.PACKED, BundleState.SENT)
        and row.sequence not in held
        and not base.isdisjoint(row.detail.get("base", ()))
        and site in row.detail.get("audience", (site,))
    )
    return SlipWithdrawal(site, held, before.missing, builders)


def _entry(chain: "Chain", done: SlipWithdrawal, reason: str | None) -> Entry:
    return entry(
        Event.SLIP_WITHDRAWN,
        subject=done.site,
        step=Event.SLIP_WITHDRAWN,
        channel=chain.channel_id,
        channel_name=chain.newest.name,
        epoch=chain.newest.epoch,
        audience=(done.site,),
        justification=reason,
        counts={"held": len(done.held), "missing": len(done.missing)},
        detail=f"held {done.held}, missing {done.missing}",
    )
