"""Sets of small volumes for tests: few symbols a group, several groups a stick."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from made_bundles import MadeBundle
from receiver_world import LowSide

from tidegate.carrier.announcement import STRIPES, Announcement
from tidegate.erasure.geometry import PartGeometry
from tidegate_sender.media.plan import plan_announcement
from tidegate_sender.media.writing import write_volume


def small_announcement(bundle: MadeBundle, chunks: PartGeometry, set_name: str = "a5" * 8) -> Announcement:
    plan = plan_announcement(bundle)  # type: ignore[arg-type]
    return replace(plan, parts=(plan.parts[0], plan.parts[1], chunks), set=set_name)


def write_plan(low: LowSide, bundle: MadeBundle, medium: Path, plan: Announcement) -> Path:
    medium.mkdir(parents=True, exist_ok=True)
    write_volume(
        bundle,  # type: ignore[arg-type]
        medium,
        signer=low.keys["carrier"],
        preamble=low.chain.to_bytes(),
        sync=False,
        read_back=False,
        plan=plan,
    )
    return medium


def sequential_set(
    low: LowSide,
    bundle: MadeBundle,
    folder: Path,
    cuts: tuple[int, ...],
    *,
    set_name: str = "a5" * 8,
    last: bool = True,
) -> list[Path]:
    """Volumes of a sequential set: `cuts` are the groups at which a new one begins."""
    chunks = PartGeometry(bundle.part_lengths[2], 8, 2, 4096, 2)
    plan = small_announcement(bundle, chunks, set_name)
    assert cuts[-1] < chunks.group_count, chunks.group_count
    edges = (0, *cuts, chunks.group_count)
    media = []
    for number, (first, end) in enumerate(pairwise(edges), start=1):
        is_last = end == chunks.group_count and last
        spans = ((0, 0, 1), (1, 0, plan.parts[1].group_count), (2, first, end), (0, 0, 1))
        volume = replace(plan, volume=number, spans=spans, last=True if is_last else None)
        media.append(write_plan(low, bundle, folder / f"{set_name[:4]}-{number}", volume))
    return media


def striped_set(low: LowSide, bundle: MadeBundle, folder: Path, volumes: int = 3, *, repairs: int = 6) -> list[Path]:
    """Volumes of a striped set: of 8 + 6 symbols over three, any one may be lost and one symbol a block besides."""
    chunks = PartGeometry(bundle.part_lengths[2], 8, repairs, 4096, 2)
    made = small_announcement(bundle, chunks)
    spans = ((0, 0, 1), (1, 0, made.parts[1].group_count), (2, 0, chunks.group_count), (0, 0, 1))
    plan = replace(made, critical=(STRIPES,), volumes=volumes, spans=spans)
    return [
        write_plan(low, bundle, folder / f"s{number}", replace(plan, volume=number)) for number in range(1, volumes + 1)
    ]
