"""Images as a broken file system leaves them: the bytes of volume files among others, whole, cut, out of order."""

import random
from collections.abc import Iterable
from pathlib import Path

from tidegate.carrier.frames import Frame

PAGE = 4096


class TrustAll:
    """A judge for tests of the walk itself."""

    def __init__(self, *, believes: bool = True) -> None:
        self.answer = believes
        self.asked = 0
        self.preambles: list[bytes] = []

    def channel_of(self, frame: Frame) -> str:
        self.asked += 1
        return "7f3a" if self.answer else ""

    def learn(self, preamble: bytes) -> str:
        self.preambles.append(preamble)
        return "7f3a"


def volume_files(medium: Path) -> list[Path]:
    return sorted((medium / "TIDEGATE").rglob("*.TGV"))


def whole_image(path: Path, files: Iterable[Path], *, gap: int = 5 * PAGE, seed: int = 7) -> Path:
    """The files one behind the other, with somebody else's bytes before, between and behind them."""
    chance = random.Random(seed)
    with path.open("wb") as image:
        for file in files:
            image.write(chance.randbytes(gap))
            image.write(file.read_bytes())
        image.write(chance.randbytes(gap))
    return path


def shuffled_image(path: Path, files: Iterable[Path], *, cluster: int, seed: int = 7, lead: int = 0) -> Path:
    """The files' clusters in any order, as on a medium whose allocation tables are gone, with foreign ones between."""
    chance = random.Random(seed)
    clusters = []
    for file in files:
        data = file.read_bytes()
        clusters += [data[at : at + cluster].ljust(cluster, b"\0") for at in range(0, len(data), cluster)]
    clusters += [chance.randbytes(cluster) for _ in range(len(clusters) // 10 + 1)]
    clusters += [bytes(cluster)] * 4
    chance.shuffle(clusters)
    path.write_bytes(chance.randbytes(lead) + b"".join(clusters))
    return path
