"""The base that slips confirmed: what counts as held, what rides again, and what is brought though it was confirmed."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_roots import files_artifact, low_side, noise

from tidegate.bundle.container import BundleFile
from tidegate.errors import RidesAgainError
from tidegate.slip.numbers import Numbers
from tidegate.state.bundles import BundleState, list_bundles, set_bundle_state
from tidegate.state.sendings import Sending, SendingState, put_sending
from tidegate.workspace import Workspace
from tidegate_sender.discarding import discard
from tidegate_sender.packing.confirmed import Riding
from tidegate_sender.packing.pack import PackOptions, PackReport, pack
from tidegate_sender.slips.memory import Confirmed, put_confirmed

SITES = ("plant-7", "plant-8")
ONE, TWO, THREE = (noise(50_000, seed) for seed in (1, 2, 3))


@pytest.fixture
def low(tmp_path: Path) -> Workspace:
    return low_side(tmp_path, sites=SITES)


def send(low: Workspace, *contents: bytes, options: PackOptions | None = None) -> PackReport:
    """Pack an artifact of these files, each a blob of its own, and count the bundle as sent."""
    report = pack(low, [files_artifact(low, "docs", *contents)], options)
    with low.state.transaction() as tx:
        set_bundle_state(tx, report.bundle_id, BundleState.SENT, detail={"write_begun": True})
    return report


def confirm(low: Workspace, *numbers: int, sites: tuple[str, ...] = SITES) -> None:
    channel = low.trust.own_channel().channel_id
    with low.state.transaction() as tx:
        for site in sites:
            put_confirmed(tx, channel, 1, site, Confirmed(Numbers.of(numbers)))


def is_small(report: PackReport) -> bool:
    """Whether at most manifests were brought beside one of the noise files."""
    return report.content_size < 80_000  # a tar of one is 61,440


def test_without_a_slip_everything_is_brought_and_said_to_ride_again(low: Workspace) -> None:
    assert send(low, ONE).again == Riding()
    second = send(low, ONE, TWO)
    assert second.required_count == 0
    assert second.again.size > 50_000


def test_what_all_sites_confirmed_is_left_out(low: Workspace) -> None:
    send(low, ONE)
    confirm(low, 1)
    second = send(low, ONE, TWO)
    assert is_small(second)
    assert second.again == Riding()


def test_what_one_of_two_sites_confirmed_rides_again_unless_the_bundle_is_for_that_site(low: Workspace) -> None:
    send(low, ONE)
    confirm(low, 1, sites=("plant-7",))
    assert not is_small(send(low, ONE, TWO))
    assert is_small(send(low, ONE, THREE, options=PackOptions(audience=("plant-7",))))


def test_full_brings_everything(low: Workspace) -> None:
    send(low, ONE)
    confirm(low, 1)
    assert send(low, ONE, TWO, options=PackOptions(full=True)).required_count == 0


def test_content_of_a_confirmed_bundle_whose_file_is_gone_is_known_from_those_that_build_on_it(low: Workspace) -> None:
    first = send(low, ONE)
    confirm(low, 1)
    send(low, ONE, TWO)
    confirm(low, 1, 2)
    first.path.unlink()
    assert is_small(send(low, ONE, TWO, THREE))


def test_what_a_confirmed_bundle_builds_on_counts_only_if_that_is_confirmed_too(low: Workspace) -> None:
    send(low, ONE)
    confirm(low, 1)
    send(low, ONE, TWO)
    confirm(low, 2)  # the newest slip does not name 1 any more
    third = send(low, ONE, TWO, THREE)
    assert 120_000 < third.content_size < 140_000
    assert third.again.size > 50_000


def test_a_discarded_bundle_is_no_base_whatever_was_confirmed_before(low: Workspace) -> None:
    first = send(low, ONE)
    discard(low, first.name)
    confirm(low, 1)
    assert not is_small(send(low, ONE, TWO))


def test_another_epochs_slips_confirm_nothing(low: Workspace) -> None:
    send(low, ONE)
    with low.state.transaction() as tx:
        for site in SITES:
            put_confirmed(tx, low.trust.own_channel().channel_id, 2, site, Confirmed(Numbers.of([1])))
    assert not is_small(send(low, ONE, TWO))


# --- the limit, and why -------------------------------------------------------------------------


def test_what_rides_again_names_the_bundles_that_were_not_confirmed(low: Workspace) -> None:
    send(low, ONE)
    send(low, ONE, TWO)
    third = send(low, ONE, TWO, THREE)
    assert list(third.again.sequences) == [1, 2]
    assert "1 to 2 were sent" in third.again.words


def test_more_than_the_limit_is_refused_with_what_to_do_and_leaves_the_number(low: Workspace) -> None:
    send(low, ONE)
    with pytest.raises(RidesAgainError, match="1 was sent, and no slip") as refused:
        send(low, ONE, TWO, options=PackOptions(again_max_bytes=1000))
    assert "--again-max" in refused.value.hint
    assert send(low, ONE, TWO, options=PackOptions(again_max_bytes=0)).sequence == 2


def test_the_setting_is_the_limit_and_a_person_who_names_a_base_or_all_is_not_asked(low: Workspace) -> None:
    first = send(low, ONE)
    narrow = replace(low, settings=replace(low.settings, again_max_bytes=1000))
    with pytest.raises(RidesAgainError):
        send(narrow, ONE, TWO)
    assert send(narrow, ONE, TWO, options=PackOptions(full=True)).sequence == 2
    assert send(narrow, ONE, TWO, THREE, options=PackOptions(since=first.name)).sequence == 3


# --- names that left the list -------------------------------------------------------------------


def pack_named(low: Workspace, *titles: str, partial: bool = False) -> PackReport:
    wanted = [files_artifact(low, title, noise(5000, seed)) for seed, title in enumerate(titles)]
    report = pack(low, wanted, PackOptions(is_partial=partial))
    with low.state.transaction() as tx:
        set_bundle_state(tx, report.bundle_id, BundleState.SENT, detail={"write_begun": True})
    return report


def test_what_left_the_list_is_listed_until_a_bundle_that_tells_it_is_confirmed(low: Workspace) -> None:
    assert pack_named(low, "a", "b", "c").removed == ()
    assert pack_named(low, "a", "c").removed == ("files/b",)
    assert pack_named(low, "a").removed == ("files/b", "files/c")  # the bundle that told of b may be lost
    confirm(low, 2, 3)
    assert pack_named(low, "d").removed == ("files/a",)
    with BundleFile.open(pack_named(low, "d", "e").path) as bundle:
        assert bundle.manifest().removed == ("files/a",)  # 4 is not confirmed


def test_what_could_not_be_had_did_not_leave_the_list(low: Workspace) -> None:
    pack_named(low, "a", "b")
    assert pack_named(low, "a", partial=True).removed == ()
    confirm(low, 1, 2)
    assert pack_named(low, "a", "c").removed == ("files/b",)


def stream(low: Workspace, number: int, *links: str) -> None:
    """Note that a bundle went over links whole."""
    with low.state.transaction() as tx:
        bundle_id = next(row.bundle_id for row in list_bundles(tx) if row.sequence == number)
        for link in links:
            put_sending(tx, Sending(bundle_id, link, SendingState.SENT, passes=1, sent=1))


def test_what_went_over_as_many_links_as_there_are_sites_is_left_out(low: Workspace) -> None:
    send(low, ONE)
    stream(low, 1, "udp://10.9.0.2:5300")
    assert not is_small(send(low, ONE, TWO))
    stream(low, 2, "udp://10.9.0.2:5300", "udp://10.9.0.3:5300")
    assert is_small(send(low, ONE, TWO, THREE))


def test_what_a_slip_misses_rides_again_although_a_link_was_to_bring_it(low: Workspace) -> None:
    send(low, ONE)
    stream(low, 1, "udp://10.9.0.2:5300", "udp://10.9.0.3:5300")
    own = low.trust.own_channel()
    with low.state.transaction() as tx:
        missing = Confirmed(missing=Numbers.of([1]))
        put_confirmed(tx, own.channel_id, own.newest.epoch, SITES[0], missing)
    assert not is_small(send(low, ONE, TWO))
