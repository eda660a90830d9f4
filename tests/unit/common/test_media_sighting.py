"""Which alarms a medium gives when it is compared with what is remembered of its token."""

from dataclasses import replace

import pytest

from tidegate.carrier.token import JudgedToken, MediumToken, TokenState
from tidegate.ledger.entries import Medium
from tidegate.media.sighting import device_difference, sight
from tidegate.state.media import MediumRow, MediumState

TIME = "2026-01-31T08:00:00Z"
TOKEN = MediumToken(1, "7f" * 32, "STICK-07", "ab" * 16, 5, registered=TIME, written=TIME)
DEVICE = {"vendor": "SanDisk", "product": "Ultra", "serial": "4C53", "capacity": 30_000_000_000}
ROW = MediumRow("ab" * 16, "STICK-07", "7f" * 32, MediumState.HERE, 5, "d1", 1, 1, device=DEVICE)
FACTS = Medium(vendor="SanDisk", product="Ultra", serial="4C53", capacity=30_000_000_000)


def good(counter: int = 5, digest: str = "d1") -> JudgedToken:
    return JudgedToken(TokenState.GOOD, digest, replace(TOKEN, counter=counter))


def alarms(judged: JudgedToken | None, row: MediumRow | None = ROW, facts: Medium = FACTS) -> list[str]:
    return [alarm.reason.value for alarm in sight(judged, row, facts).alarms]


def test_the_same_medium_again_is_no_alarm() -> None:
    assert alarms(good()) == []
    assert alarms(good(6, "d2")) == []
    assert alarms(good(), row=None) == []
    assert alarms(None, row=None) == []


def test_a_counter_that_goes_back_is_an_alarm() -> None:
    assert alarms(good(4, "d0")) == ["medium-counter-back"]


def test_another_token_with_the_same_counter_is_an_alarm() -> None:
    assert alarms(good(5, "d2")) == ["medium-cloned"]


@pytest.mark.parametrize(
    "facts", [replace(FACTS, serial="9999"), replace(FACTS, vendor="None"), replace(FACTS, capacity=15_000_000_000)]
)
def test_another_device_is_an_alarm_also_with_a_higher_counter(facts: Medium) -> None:
    assert alarms(good(), facts=facts) == ["medium-other-device"]
    assert alarms(good(9, "d9"), facts=facts) == ["medium-other-device"]


def test_what_is_not_known_of_a_device_contradicts_nothing() -> None:
    assert alarms(good(), facts=Medium()) == []
    assert device_difference({}, DEVICE) == ""
    assert device_difference(DEVICE, {**DEVICE, "capacity": 30_100_000_000}) == ""


def test_a_lost_and_a_suspicious_medium_are_named() -> None:
    assert alarms(good(), replace(ROW, state=MediumState.LOST)) == ["medium-was-lost"]
    assert alarms(good(), replace(ROW, state=MediumState.SUSPECT)) == ["medium-suspect"]


def test_a_forged_token_is_an_alarm_and_names_no_medium() -> None:
    seen = sight(JudgedToken(TokenState.FORGED, "d1", reason="signature does not match"), None, FACTS)
    assert [alarm.reason.value for alarm in seen.alarms] == ["medium-token-forged"]
    assert seen.facts == FACTS


@pytest.mark.parametrize("state", [TokenState.UNKNOWN, TokenState.UNREADABLE])
def test_a_damaged_or_a_strangers_token_is_no_alarm(state: TokenState) -> None:
    assert alarms(JudgedToken(state, "d1", reason="x"), None) == []


def test_the_facts_carry_label_token_and_counter() -> None:
    facts = sight(good(), ROW, FACTS).facts
    assert (facts.register_label, facts.token, facts.counter) == ("STICK-07", "ab" * 16, 5)
