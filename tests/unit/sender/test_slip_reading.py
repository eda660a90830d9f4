"""Reading slips on the low side: each way to be wrong has its own error and its entry, and changes nothing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from made_roots import low_side

from tidegate.errors import (
    SlipClaimError,
    SlipError,
    SlipForgedError,
    SlipForkError,
    SlipMistypedError,
    SlipOldError,
    SlipSiteError,
    TrustError,
)
from tidegate.ledger.checkpoint import NoteKey
from tidegate.ledger.log import Log
from tidegate.slip.code import Code, make_code
from tidegate.slip.numbers import Numbers
from tidegate.slip.site_keys import SiteKeys
from tidegate.slip.slip import Statement, fit, held_sum, sign_slip
from tidegate.state.bundles import BundleRow, BundleState, put_bundle
from tidegate.trust.keys import FileSigner
from tidegate.workspace import Workspace
from tidegate_sender.slips.memory import Confirmed, get_confirmed, get_witnessed, held_by_all
from tidegate_sender.slips.reading import read_slip

SITE, OTHER_SITE = "plant-7", "plant-8"
SIGNER, STRANGER = FileSigner(bytes(range(32)), "ann"), FileSigner(bytes(32), "eve")
SENT = 6


def bundle_id(number: int) -> str:
    return f"{number:064x}"


def receipt(number: int) -> str:
    return f"{number + 1000:064x}"


class Office:
    """A low side that sent bundles 1 to 6 and packed 7, and what the site would print."""

    def __init__(self, folder: Path) -> None:
        self.workspace: Workspace = low_side(folder, sites=(SITE, OTHER_SITE))
        self.channel = self.workspace.trust.own_channel().channel_id
        self.keys = SiteKeys(self.workspace.folder("trust"))
        self.keys.pin(NoteKey(f"{SITE}/high", SIGNER.public))
        with self.workspace.state.transaction() as tx:
            for number in range(1, SENT + 2):
                state = BundleState.SENT if number <= SENT else BundleState.PACKED
                detail = {"epoch": 1, "receipt": receipt(number)}
                put_bundle(tx, BundleRow(bundle_id(number), self.channel, number, "low", state, 0, 1, 1, detail=detail))

    def slip(
        self,
        holds: str = "1-4+6",
        misses: str = "5",
        size: int = 100,
        *,
        signer: FileSigner = SIGNER,
        ids: Callable[[int], str] = bundle_id,
        channel: str | None = None,
        **changes: object,
    ) -> str:
        channel = channel or self.channel
        said = Statement(
            SITE, channel[:4], 1, Numbers.parse(holds), Numbers.parse(misses), "", None, size, bytes(32), "2026-01-31"
        )
        site = str(changes.get("site", SITE))

        def code_of(number: int) -> Code:
            return make_code(channel_id=channel, epoch=1, sequence=number, site=site, receipt=receipt(number))

        said = fit(said, {number: ids(number) for number in said.held}, code_of)
        return sign_slip(replace(said, **changes), channel, signer).text()  # type: ignore[arg-type]

    def code(self, number: int, site: str = SITE, made_from: str | None = None) -> str:
        facts = {"channel_id": self.channel, "site": site, "receipt": made_from or receipt(number)}
        return str(make_code(epoch=1, sequence=number, **facts))

    def held(self, site: str = SITE) -> str:
        with self.workspace.state.reading() as tx:
            return str(get_confirmed(tx, self.channel, 1, site).all_held)

    def confirmed(self) -> Confirmed:
        with self.workspace.state.reading() as tx:
            return get_confirmed(tx, self.channel, 1, SITE)

    def entries(self) -> list[str]:
        log: Log = self.workspace.recorder.log
        checkpoint = log.checkpoint()
        size = checkpoint.size if checkpoint else 0
        return [data.decode() for _, data in log.raw_entries(size) if b'"witnessed"' in data]

    def refuses(self, text: str, error: type[SlipError]) -> None:
        """Refused by this error and no other, with an entry where anything is known of it, and nothing confirmed."""
        before, entries = self.held(), len(self.entries())
        with pytest.raises(error) as caught:
            read_slip(self.workspace, text)
        assert caught.type is error
        assert self.held() == before
        if error is not SlipMistypedError:
            assert f'"reason":"{error.reason}"' in self.entries()[entries]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_a_slip_confirms_what_the_site_holds_and_remembers_the_head_of_its_ledger(office: Office) -> None:
    done = read_slip(office.workspace, office.slip())
    assert (done.site, str(done.held), str(done.missing), str(done.new)) == (SITE, "1-4+6", "5", "1-4+6")
    assert office.held() == "1-4+6"
    with office.workspace.state.reading() as tx:
        seen = get_witnessed(tx, SITE)
    assert seen is not None
    assert seen.size == 100
    assert '"held":5' in office.entries()[0]


def test_the_same_slip_again_is_nothing_to_do(office: Office) -> None:
    read_slip(office.workspace, office.slip())
    assert not read_slip(office.workspace, office.slip()).is_new
    assert len(office.entries()) == 1


def test_what_was_sent_after_the_highest_number_of_a_slip_is_named_since_the_site_cannot_know_of_it(
    office: Office,
) -> None:
    assert str(read_slip(office.workspace, office.slip("1-3", "NONE", 100)).not_told) == "4-6"  # 7 was not sent
    read_slip(office.workspace, office.code(5))
    assert str(read_slip(office.workspace, office.slip("1-2", "3", 101)).not_told) == "4+6"
    assert not read_slip(office.workspace, office.slip("1-4+6", "5", 102)).not_told


def test_a_newer_slip_takes_the_place_of_what_was_confirmed(office: Office) -> None:
    read_slip(office.workspace, office.slip())
    read_slip(office.workspace, office.slip("2-5", "NONE", 101))
    assert office.held() == "2-5"


def test_a_slip_with_a_wrong_letter_is_mistyped(office: Office) -> None:
    office.refuses(office.slip().replace("HELD 1-4", "HELD 1-3"), SlipMistypedError)


def test_a_slip_signed_by_a_stranger_is_forged(office: Office) -> None:
    office.refuses(office.slip(signer=STRANGER), SlipForgedError)


def test_a_slip_of_another_site_is_not_taken_for_this_one(office: Office) -> None:
    office.refuses(office.slip(site=OTHER_SITE), SlipSiteError)  # its key is not pinned
    office.refuses(office.slip(site="plant-9"), SlipSiteError)  # the channel is not for it
    office.keys.pin(NoteKey(f"{OTHER_SITE}/high", STRANGER.public))
    office.refuses(office.slip(site=OTHER_SITE), SlipForgedError)


def test_a_slip_for_another_channel_is_refused_even_if_its_first_digits_are_the_same(office: Office) -> None:
    office.refuses(office.slip(channel="0000" + "0" * 60), SlipSiteError)
    office.refuses(office.slip(channel=office.channel[:4] + "0" * 60), SlipForgedError)


def test_a_slip_of_another_epoch_is_old_or_claims_too_much(office: Office) -> None:
    office.refuses(office.slip(epoch=2), SlipClaimError)


def test_an_older_slip_is_refused(office: Office) -> None:
    read_slip(office.workspace, office.slip(size=100))
    office.refuses(office.slip("1", "NONE", 99), SlipOldError)


def test_a_slip_that_is_replayed_takes_nothing_back_whatever_it_claimed(office: Office) -> None:
    """Somebody keeps last month's slip: neither what it held nor what it missed counts again, nor does its head."""
    old = [office.slip("1-2", "3-6", 90), office.slip("1-6", "NONE", 95)]
    for text in (*old, office.slip("1-4+6", "5", 100)):
        read_slip(office.workspace, text)
    before = office.confirmed()
    for text in old:
        office.refuses(text, SlipOldError)
        office.refuses(text.lower().replace("/", "\n"), SlipOldError)
    assert office.confirmed() == before
    with office.workspace.state.reading() as tx:
        seen = get_witnessed(tx, SITE)
    assert seen is not None
    assert seen.size == 100


def test_a_code_that_is_replayed_after_a_slip_missed_its_bundle_confirms_nothing(office: Office) -> None:
    code = office.code(5)
    read_slip(office.workspace, code)
    read_slip(office.workspace, office.slip("1-4+6", "5", 100))  # the site lost the content since
    office.refuses(code, SlipOldError)
    assert office.held() == "1-4+6"


def test_another_ledger_or_another_statement_at_the_same_size_is_a_fork(office: Office) -> None:
    read_slip(office.workspace, office.slip(size=100))
    office.refuses(office.slip(size=100, root=bytes([1] * 32)), SlipForkError)
    office.refuses(office.slip("1-4", "5-6", 100), SlipForkError)


@pytest.mark.parametrize(("holds", "misses"), [("1-7", "NONE"), ("1", "8")])
def test_a_slip_that_speaks_of_what_was_never_sent_claims_too_much(office: Office, holds: str, misses: str) -> None:
    office.refuses(office.slip(holds, misses), SlipClaimError)


def test_a_range_without_end_is_not_counted_out(office: Office) -> None:
    office.refuses(office.slip("1", "NONE", held=Numbers.parse("1-9999999"), code=None), SlipClaimError)


def test_another_bundle_under_a_number_is_a_fork(office: Office) -> None:
    office.refuses(office.slip(ids=lambda number: bundle_id(number + (number == 3) * 50)), SlipForkError)
    other = make_code(channel_id=office.channel, epoch=1, sequence=6, site=SITE, receipt="ee" * 32)
    office.refuses(office.slip(code=other), SlipForkError)


def test_a_discarded_bundle_confirms_nothing_though_it_arrived(office: Office) -> None:
    with office.workspace.state.transaction() as tx:
        detail = {"epoch": 1, "receipt": receipt(6), "void": True}
        row = BundleRow(bundle_id(6), office.channel, 6, "low", BundleState.DISCARDED, 0, 1, 1, detail=detail)
        put_bundle(tx, row)
    read_slip(office.workspace, office.slip())
    assert office.held() == "1-4"


def test_a_replaced_key_of_a_site_begins_a_new_ledger(office: Office) -> None:
    read_slip(office.workspace, office.slip(size=100))
    with pytest.raises(TrustError):
        office.keys.pin(NoteKey(f"{SITE}/high", STRANGER.public))
    office.keys.remove(SITE)
    office.keys.pin(NoteKey(f"{SITE}/high", STRANGER.public))
    office.refuses(office.slip(size=200), SlipForgedError)
    assert read_slip(office.workspace, office.slip("1-5", "NONE", 3, signer=STRANGER)).before == 0


def test_a_code_confirms_its_bundle_for_the_site_that_gave_it(office: Office) -> None:
    assert read_slip(office.workspace, office.code(2)).site == SITE
    assert read_slip(office.workspace, office.code(2, OTHER_SITE)).site == OTHER_SITE
    assert (office.held(), office.held(OTHER_SITE)) == ("2", "2")
    assert not read_slip(office.workspace, office.code(2)).is_new


def test_a_code_is_refused_that_was_not_made_from_the_content(office: Office) -> None:
    office.refuses(office.code(2, made_from="ee" * 32), SlipForgedError)
    office.refuses(office.code(2, site="plant-9"), SlipForgedError)
    office.refuses(office.code(7), SlipClaimError)
    office.refuses(office.code(70), SlipClaimError)
    good = office.code(2)
    office.refuses(good[:-1] + ("0" if good[-1] != "0" else "1"), SlipMistypedError)


def test_a_code_does_not_outvote_a_slip(office: Office) -> None:
    read_slip(office.workspace, office.slip("1-3", "4"))
    office.refuses(office.code(4), SlipOldError)
    read_slip(office.workspace, office.code(6))
    assert office.held() == "1-3+6"
    read_slip(office.workspace, office.slip("1-3", "4-6", 101))
    assert office.held() == "1-3"


def test_the_base_for_several_sites_is_what_all_of_them_hold(office: Office) -> None:
    read_slip(office.workspace, office.slip())
    read_slip(office.workspace, office.code(2, OTHER_SITE))
    with office.workspace.state.reading() as tx:
        assert str(held_by_all(tx, office.channel, 1, (SITE, OTHER_SITE))) == "2"
        assert str(held_by_all(tx, office.channel, 1, (SITE,))) == "1-4+6"
        assert not held_by_all(tx, office.channel, 1, ())
        assert not held_by_all(tx, office.channel, 2, (SITE,))


def test_the_sum_depends_on_every_bundle_and_its_number() -> None:
    sums = [held_sum(pairs) for pairs in ([], [(1, bundle_id(1))], [(2, bundle_id(1))], [(1, bundle_id(2))])]
    assert len(set(sums)) == len(sums)
