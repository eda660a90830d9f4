"""Hundreds of faults at system calls and kills at random moments, and after each of them the whole job.

Another seed: ``TEST_SEED=7 make campaign``.
"""

import os
import random
import time
from pathlib import Path

import pytest
from faults import ERRORS, STAGES, Fault, arguments, count_calls, go_on, needs_strace, prepare, side_of, strike
from two_sides import Sides

SEED = int(os.environ.get("TEST_SEED", "20260303"))
POINTS = 10  # of each part
KILLED_RUNS = 6

pytestmark = pytest.mark.campaign


@pytest.fixture(scope="module")
def prepared(first_day: Sides, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sides]:
    return {stage: prepare(first_day, tmp_path_factory.mktemp(stage), stage) for stage in STAGES}


@pytest.mark.parametrize("part", range(3))
@pytest.mark.parametrize("effect", ["error", "kill"])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.system
def test_faults_at_calls_spread_over_a_stage(
    stage: str, effect: str, part: int, prepared: dict[str, Sides], tmp_path: Path
) -> None:
    needs_strace()
    counts = count_calls(prepared[stage].copy(tmp_path / "count"), stage)
    chance = random.Random(f"{SEED} {stage} {effect} {part}")
    every = [(call, when) for call, count in sorted(counts.items()) for when in range(1, count + 1)]
    struck = 0
    points = chance.sample(every, min(POINTS, len(every)))
    for number, (call, when) in enumerate(points):
        fault = Fault(call, when, ERRORS.get(call, "EIO") if effect == "error" else None)
        print(f"seed {SEED}, stage {stage}: {fault}")
        sides = prepared[stage].copy(tmp_path / str(number))
        struck += strike(sides, stage, fault).code != 0
        go_on(sides, stage)
    assert effect == "error" or struck >= len(points) / 2, f"{struck} of {len(points)} were killed"


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("stage", STAGES)
def test_kills_at_random_moments(stage: str, part: int, prepared: dict[str, Sides], tmp_path: Path) -> None:
    chance = random.Random(f"{SEED} {stage} kill {part}")
    print(f"seed {SEED}, stage {stage}")
    sides = prepared[stage].copy(tmp_path)
    for _ in range(KILLED_RUNS):
        process = side_of(sides, stage).start(*arguments(sides, stage))
        time.sleep(chance.uniform(0.1, 0.6))
        process.kill()
        process.communicate()
        side_of(sides, stage).check()
    go_on(sides, stage)
