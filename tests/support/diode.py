"""A lossy diode in memory: it drops, repeats, reorders and flips datagrams by a seed, and never lets anything back.

for datagram in Diode(seed=7, loss=0.01).carry(session.datagrams()):
    socket.send(datagram)
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Diode:
    """What the way does to datagrams. Shares are of all datagrams; `burst` of each `every` are lost in a row."""

    seed: int = 1
    loss: float = 0.0
    repeat: float = 0.0
    reorder: float = 0.0
    flip: float = 0.0
    burst: int = 0
    every: int = 10_000
    #: datagrams by which one may be overtaken
    reach: int = 20

    def carry(self, datagrams: Iterable[bytes]) -> Iterator[bytes]:
        chance = random.Random(self.seed)
        held: list[tuple[int, bytes]] = []
        for number, datagram in enumerate(datagrams):
            due = [item for item in held if item[0] <= number]
            for item in due:
                held.remove(item)
                yield item[1]
            if number % self.every < self.burst or chance.random() < self.loss:
                continue
            passed = _flipped(datagram, chance) if chance.random() < self.flip else datagram
            if chance.random() < self.reorder:
                held.append((number + chance.randrange(1, self.reach), passed))
                continue
            yield passed
            if chance.random() < self.repeat:
                yield passed
        for _, datagram in sorted(held, key=lambda item: item[0]):
            yield datagram


def _flipped(datagram: bytes, chance: random.Random) -> bytes:
    """One bit is another one."""
    made = bytearray(datagram)
    place = chance.randrange(len(made) * 8)
    made[place // 8] ^= 1 << place % 8
    return bytes(made)
