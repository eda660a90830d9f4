"""The model of the whole channel, week after week: lost, forged, late and damaged bundles, kills, restores, slips.

Another seed, or more of it: ``TEST_SEED=7 TEST_WEEKS=2000 make campaign``.
"""

import os

import pytest
from channel_machine import ChannelMachine
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

SEED = int(os.environ.get("TEST_SEED", "20260304"))
WEEKS = int(os.environ.get("TEST_WEEKS", "300"))
STEPS = 60

pytestmark = pytest.mark.campaign


class Weeks(ChannelMachine):
    """The same machine, so that its seed is no other test's."""


def test_hundreds_of_bad_weeks_of_a_channel() -> None:
    print(f"seed {SEED}, {WEEKS} weeks of {STEPS} steps")
    run_state_machine_as_test(
        seed(SEED)(Weeks),
        settings=settings(
            max_examples=WEEKS,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(dict(ChannelMachine.tally))
