"""The model of the whole channel, a short one that is the same in every run; ``make campaign`` has the long one."""

from channel_machine import ChannelMachine
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

WEEKS = 10
STEPS = 30


def test_ten_bad_weeks_of_a_channel_release_only_what_may_be_and_recover_what_can() -> None:
    """Without shrinking, so that a failure is told at once: the steps that led to it are printed."""
    run_state_machine_as_test(
        ChannelMachine,
        settings=settings(
            max_examples=WEEKS,
            stateful_step_count=STEPS,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
