"""Take a return slip, or the code of one bundle: verify it, remember what it confirms, and record that.

    lines ─► site and channel known? ─► signature ─► epoch ─► newer than the last ─► nothing claimed that was not sent
    ─► the bundles meant are those that were sent ─► one transaction: confirmed, ledger's head, entry

Whatever does not pass has an error of its own and an entry; a mistyped one has none, since nothing of it is known.
Format and order of checks: docs/format/slip.md.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.errors import (
    SlipClaimError,
    SlipError,
    SlipForgedError,
    SlipForkError,
    SlipOldError,
    SlipSiteError,
)
from tidegate.ledger.entries import Entry, Event, Outcome, entry
from tidegate.restoring import lost_numbers
from tidegate.slip.code import Code, is_code, make_code, parse_code
from tidegate.slip.numbers import NO_NUMBERS, Numbers
from tidegate.slip.proof import SlipProof, split_proof
from tidegate.slip.site_keys import SiteKeys
from tidegate.slip.slip import Slip, Statement, held_sum, parse_slip, verify_slip
from tidegate.state.bundles import BundleRow, BundleState, list_bundles
from tidegate_sender.slips.cosigning import CosigningPlan, keep_evidence, make_cosigned, plan_cosigning
from tidegate_sender.slips.memory import (
    Confirmed,
    Cosigned,
    Witnessed,
    add_code,
    close_withdrawal,
    get_confirmed,
    get_cosigned,
    get_withdrawals,
    get_witnessed,
    put_confirmed,
    put_cosigned,
    put_witnessed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.state.db import Transaction
    from tidegate.trust.root import Chain
    from tidegate.workspace import Workspace


@dataclass(frozen=True, slots=True)
class SlipReport:
    """What reading a slip or code came to. `size` is that of the site's ledger, 0 for a code."""

    site: str
    bundle: str
    held: Numbers
    missing: Numbers
    #: confirmed by this one and not before
    new: Numbers
    size: int = 0
    before: int = 0
    is_new: bool = True
    #: whether the head of the site's ledger was co-signed, else from which size a proof would let it be
    is_cosigned: bool = False
    proof_from: int | None = None
    #: sent to this site, and beyond the highest number that its slip speaks of
    not_told: Numbers = NO_NUMBERS


def read_slip(workspace: "Workspace", text: str, *, dry_run: bool = False) -> SlipReport:
    """Take what was typed or scanned. Raises SlipError and its kin; refusals are recorded."""
    reading = _Reading(workspace, workspace.trust.own_channel(), dry_run)
    if is_code(text):
        code = parse_code(text)
        return reading.guarded(lambda: reading.take_code(code), bundle=str(code))
    own_text, proof = split_proof(text)
    slip = parse_slip(own_text)
    return reading.guarded(lambda: reading.take_slip(slip, proof), bundle=slip.statement.site)


class _Reading:
    """One reading, and the facts that every check needs."""

    def __init__(self, workspace: "Workspace", chain: "Chain", dry_run: bool) -> None:
        self.workspace = workspace
        self.chain = chain
        self.dry_run = dry_run
        self.epoch = chain.newest.epoch
        self.sites = chain.newest.sites or ()

    def guarded(self, take: "Callable[[], SlipReport]", *, bundle: str) -> SlipReport:
        if self.dry_run:
            return take()
        with self.workspace.recording():
            try:
                return take()
            except SlipError as error:
                self._record_refusal(error, bundle)
                raise

    # --- a whole slip -------------------------------------------------------------------------

    def take_slip(self, slip: Slip, proof: SlipProof | None = None) -> SlipReport:
        said = slip.statement
        self._check_site(said)
        key = SiteKeys(self.workspace.folder("trust")).get(said.site)
        note = verify_slip(slip, key, self.chain.channel_id).decode()
        self._check_epoch(said)
        with self.workspace.state.reading() as tx:
            seen = get_witnessed(tx, said.site)
            signed = get_cosigned(tx, said.site)
            before = get_confirmed(tx, self.chain.channel_id, self.epoch, said.site)
            withdrawn = get_withdrawals(tx, self.chain.channel_id, self.epoch, said.site)
            sent = sent_bundles(tx, self.chain.channel_id, self.epoch)
            lost = lost_numbers(tx, self.chain.channel_id, self.epoch)
        if seen is not None and seen.vkey != str(key):
            seen = None  # the site's ledger was made anew, and its new key pinned
        if signed is not None and signed.vkey != str(key):
            signed = None
        is_new = _check_order(slip, seen) or withdrawn.is_open  # what was withdrawn may be read once more
        _check_claim(said, sent, lost)
        # Of a number that a restored backup lost nothing is known but what the site says: it is no base either way.
        held = Numbers.of(n for n in said.held if n not in sent or not sent[n].detail.get("void"))
        missing = Numbers.of(n for n in said.missing if n not in sent or _is_due(sent[n], said.site))
        new = Numbers.of(set(held) - set(before.all_held))
        after = {n for n, row in sent.items() if n > said.highest and _is_due(row, said.site)}
        not_told = Numbers.of(after - set(before.by_code))
        plan = self._plan_cosigning(slip, proof, note.encode(), signed)
        report = SlipReport(
            said.site,
            str(said.code or ""),
            held,
            missing,
            new,
            said.size,
            seen.size if seen else 0,
            is_new,
            plan.may_cosign,
            plan.proof_from,
            not_told,
        )
        if (is_new or plan.may_cosign) and not self.dry_run:
            made = make_cosigned(self.workspace, slip, note.encode(), str(key)) if plan.may_cosign else None
            later = Numbers.of(number for number in before.by_code if number > said.highest)
            now = Witnessed(str(key), said.size, said.root.hex(), slip.text(), note)
            with self.workspace.state.transaction() as tx:
                if is_new:
                    put_confirmed(tx, self.chain.channel_id, self.epoch, said.site, Confirmed(held, missing, later))
                    close_withdrawal(tx, self.chain.channel_id, self.epoch, said.site)
                    put_witnessed(tx, said.site, now)
                if made is not None:
                    put_cosigned(tx, said.site, made)
                tx.queue(self._entry(Outcome.DONE, said.site, **_facts(report, said.root.hex())))
        return report

    def _plan_cosigning(
        self, slip: Slip, proof: SlipProof | None, note: bytes, signed: Cosigned | None
    ) -> CosigningPlan:
        try:
            return plan_cosigning(slip, proof, signed)
        except SlipForkError:
            if not self.dry_run and proof is not None and signed is not None:
                keep_evidence(self.workspace, slip, proof, note, signed)
            raise

    def _check_site(self, said: Statement) -> None:
        if said.prefix != self.chain.channel_id[:4]:
            raise SlipSiteError(
                f"slip of {said.site}: is for channel {said.prefix}, this is {self.chain.channel_id[:4]}",
                hint="read it on the low side of that channel",
            )
        if said.site not in self.sites:
            raise SlipSiteError(f"slip of {said.site}: channel {self.chain.newest.name} is for {', '.join(self.sites)}")

    def _check_epoch(self, said: Statement) -> None:
        if said.epoch < self.epoch:
            raise SlipOldError(f"slip of {said.site}: speaks of epoch {said.epoch}, the channel is in {self.epoch}")
        if said.epoch > self.epoch:
            raise SlipClaimError(f"slip of {said.site}: speaks of epoch {said.epoch}, the channel is in {self.epoch}")

    # --- the code of one bundle ---------------------------------------------------------------

    def take_code(self, code: Code) -> SlipReport:
        channel_id = self.chain.channel_id
        if code.prefix != channel_id[:4]:
            raise SlipSiteError(f"code {code}: is of channel {code.prefix}, this is {channel_id[:4]}")
        with self.workspace.state.reading() as tx:
            row = sent_bundles(tx, channel_id, self.epoch).get(code.sequence)
        if row is None:
            raise SlipClaimError(f"code {code}: number {code.sequence} was never sent")
        site = self._site_of(code, row)
        with self.workspace.state.reading() as tx:
            before = get_confirmed(tx, channel_id, self.epoch, site)
        if code.sequence in before.missing:
            raise SlipOldError(f"code {code}: the last slip of {site} says that {row.name} is missing")
        is_new = code.sequence not in before.all_held and not row.detail.get("void")
        new = Numbers.of([code.sequence] if is_new else ())
        after = add_code(before, code.sequence) if is_new else before
        report = SlipReport(site, str(code), after.all_held, after.missing, new, is_new=is_new)
        if is_new and not self.dry_run:
            with self.workspace.state.transaction() as tx:
                put_confirmed(tx, channel_id, self.epoch, site, after)
                facts = {"bundle": row.bundle_id, "bundle_name": row.name, "sequence": row.sequence}
                tx.queue(self._entry(Outcome.DONE, site, detail=f"code {code}", audience=(site,), **facts))
        return report

    def _site_of(self, code: Code, row: BundleRow) -> str:
        """The site that gives this code. Raises SlipForgedError where none does."""
        if not row.detail.get("receipt"):
            raise SlipForgedError(
                f"code {code}: {row.name} was packed by an older Tidegate, which left nothing to compare",
                hint="read a whole slip instead",
            )
        for site in self.sites:
            if code == _code_of(row, self.epoch, site):
                return site
        raise SlipForgedError(f"code {code}: was not made from the content of {row.name} at {', '.join(self.sites)}")

    # --- entries ------------------------------------------------------------------------------

    def _entry(self, outcome: Outcome, subject: str, **facts: Any) -> Entry:
        root = self.chain.newest
        own: dict[str, Any] = {"channel": self.chain.channel_id, "channel_name": root.name, "epoch": root.epoch}
        return entry(Event.WITNESSED, subject=subject, step="witnessed", outcome=outcome, **{**own, **facts})

    def _record_refusal(self, error: SlipError, subject: str) -> None:
        with self.workspace.state.transaction() as tx:
            tx.queue(self._entry(Outcome.REFUSED, subject, reason=error.reason, detail=error.message))


def sent_bundles(tx: "Transaction", channel_id: str, epoch: int) -> dict[int, BundleRow]:
    """By number, the bundles of this epoch of which a medium may hold a copy, void ones too."""
    rows = list_bundles(tx, channel_id=channel_id)
    return {row.sequence: row for row in rows if row.detail.get("epoch") == epoch and was_sent(row)}


def was_sent(row: BundleRow) -> bool:
    """Whether a medium may hold a copy: from the moment that writing one began."""
    return row.state is BundleState.SENT or bool(row.detail.get("write_begun") or row.detail.get("void"))


def _is_due(row: BundleRow, site: str) -> bool:
    """Whether a site that misses the bundle was to get it: a void one and one for other sites are no loss."""
    return not row.detail.get("void") and site in row.detail.get("audience", (site,))


def _check_order(slip: Slip, seen: Witnessed | None) -> bool:
    """S-11: whether the slip is a new one; raises where it is older, or of another ledger."""
    said = slip.statement
    if seen is None or said.size > seen.size:
        return True
    if said.size < seen.size:
        raise SlipOldError(
            f"slip of {said.site}: is of a ledger of {said.size} entries, one of {seen.size} was read already"
        )
    if slip.text() != seen.text:
        raise SlipForkError(f"slip of {said.site}: its ledger of {said.size} entries is another than was read before")
    return False


def _check_claim(said: Statement, sent: dict[int, BundleRow], lost: Numbers) -> None:
    """S-12 and S-13: only numbers that were sent, and under each the bundle that was sent.

    Of numbers that a restored backup lost nothing is known, so the sum over all bundles cannot be judged with them.
    """
    newest = max((*sent, *lost), default=0)  # first, so that no range is counted out that ends beyond it
    unsent = Numbers.of(
        [said.highest]
        if said.highest > newest
        else (number for number in (*said.held, *said.missing) if number not in sent and number not in lost)
    )
    if unsent:
        raise SlipClaimError(f"slip of {said.site}: speaks of number {unsent.words()}, which was never sent")
    if any(number in lost and number not in sent for number in said.held):
        return
    is_other = held_sum((number, sent[number].bundle_id) for number in said.held) != said.held_sum
    highest = sent.get(said.held.highest)
    if said.code is not None and highest is not None and highest.detail.get("receipt"):
        is_other = is_other or said.code != _code_of(highest, said.epoch, said.site)
    if is_other:
        raise SlipForkError(
            f"slip of {said.site}: under one of the numbers {said.held.words()} it holds another bundle than was sent",
            hint='compare the bundle_ids of "tidegate inbox --json" there with those here',
        )


def _code_of(row: BundleRow, epoch: int, site: str) -> Code:
    receipt = str(row.detail["receipt"])
    return make_code(channel_id=row.channel_id, epoch=epoch, sequence=row.sequence, site=site, receipt=receipt)


def _facts(report: SlipReport, root: str) -> dict[str, Any]:
    counts = {"held": len(report.held), "missing": len(report.missing), "entries": report.size}
    text = f"ledger of {report.size} entries, root hash {root}"
    if report.is_cosigned:
        text += "; co-signed"
    if report.missing:
        text += f"; missing {report.missing.words()}"
    return {"counts": counts, "audience": (report.site,), "detail": text}
