"""Who may load what."""

import pytest

from tidegate.config import ChannelSettings, Release, Role, Settings
from tidegate.errors import NotReleasedError
from tidegate_receiver.promotion.release import Releaser, check_release, may_load_automatically

AUTOMATIC = Settings(role=Role.HIGH, channels={"plant": ChannelSettings(Release.AUTOMATIC)})


def test_a_person_may_load_by_default() -> None:
    permission = check_release(Settings(), "plant", Releaser.PERSON, "7f3a-0001")
    assert (permission.release, permission.releaser) == (Release.BY_HAND, Releaser.PERSON)


def test_a_rule_may_not_load_by_default() -> None:
    with pytest.raises(NotReleasedError, match="7f3a-0001") as caught:
        check_release(Settings(), "plant", Releaser.RULE, "7f3a-0001")
    assert "tidegate load 7f3a-0001" in caught.value.hint


def test_an_automatic_channel_lets_both_load_and_names_its_policy() -> None:
    by_rule = check_release(AUTOMATIC, "plant", Releaser.RULE, "7f3a-0001")
    by_hand = check_release(Settings(), "plant", Releaser.PERSON, "7f3a-0001")
    assert check_release(AUTOMATIC, "plant", Releaser.PERSON, "7f3a-0001").release is Release.AUTOMATIC
    assert by_rule.policy_digest.startswith("sha256:")
    assert by_rule.policy_digest != by_hand.policy_digest


def test_automatic_is_a_matter_of_each_channel() -> None:
    assert may_load_automatically(AUTOMATIC, "plant")
    assert not may_load_automatically(AUTOMATIC, "office")
