"""Draw goodput against loss, ours and the peers', as an SVG made by hand: no library, and a few lines of text for git.

    python bench/stream.py --json stream.json && python bench/plot.py stream.json docs/stream-goodput.svg

A program that delivered less than all of its tries whole has an open mark, one that delivered none a cross at zero.
"""

import argparse
import json
from collections.abc import Iterator
from html import escape
from pathlib import Path

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 50, 60
COLOURS = ("#0b5fa5", "#c2410c", "#15803d", "#7e22ce", "#525252")
FONT = 'font-family="sans-serif" font-size="13"'


class Plot:
    """The chart: losses are evenly spaced in their order, MB/s is linear from zero."""

    def __init__(self, figures: list[dict], title: str) -> None:
        self.title = title
        self.losses = sorted({figure["loss_percent"] for figure in figures})
        self.names = list(dict.fromkeys(figure["who"] for figure in figures if figure["tries"]))
        self.figures = {(figure["who"], figure["loss_percent"]): figure for figure in figures}
        highest = max((figure["mb_per_second"] or 0 for figure in figures), default=0)
        self.step = next(step for step in (10, 20, 50, 100, 200, 500, 1000) if highest / step <= 8 or step == 1000)
        self.top = max(self.step, -(-int(highest + 1) // self.step) * self.step)

    def x(self, loss: float) -> float:
        share = self.losses.index(loss) / max(1, len(self.losses) - 1)
        return LEFT + 30 + share * (WIDTH - LEFT - RIGHT - 60)

    def y(self, speed: float) -> float:
        return HEIGHT - BOTTOM - speed / self.top * (HEIGHT - TOP - BOTTOM)

    def axes(self) -> Iterator[str]:
        right = WIDTH - RIGHT
        yield f'<text x="{LEFT}" y="24" {FONT} font-weight="bold">{escape(self.title)}</text>'
        for speed in range(0, self.top + 1, self.step):
            y = self.y(speed)
            yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#d4d4d4"/>'
            yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" {FONT}>{speed}</text>'
        for loss in self.losses:
            at = f'x="{self.x(loss):.1f}" y="{HEIGHT - BOTTOM + 20}"'
            yield f'<text {at} text-anchor="middle" {FONT}>{loss:g} %</text>'
        middle = (LEFT + right) / 2
        yield f'<text x="{middle}" y="{HEIGHT - 16}" text-anchor="middle" {FONT}>datagrams lost at random</text>'
        yield f'<text x="18" y="{HEIGHT / 2}" text-anchor="middle" {FONT} transform="rotate(-90 18 {HEIGHT / 2})">' \
              "MB/s, first datagram to verified and whole</text>"  # fmt: skip

    def series(self, number: int, name: str) -> Iterator[str]:
        colour = COLOURS[number % len(COLOURS)]
        points = []
        for loss in self.losses:
            figure = self.figures.get((name, loss))
            if figure is None or not figure["tries"]:
                continue
            x, speed = self.x(loss), figure["mb_per_second"]
            if speed is None:
                yield f'<text x="{x:.1f}" y="{self.y(0) - 4 - 12 * number:.1f}" text-anchor="middle" fill="{colour}"' \
                      f' {FONT}>✕</text>'  # fmt: skip
                continue
            y = self.y(speed)
            points.append(f"{x:.1f},{y:.1f}")
            inside = colour if figure["whole"] == figure["tries"] else "white"
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{inside}" stroke="{colour}" stroke-width="2"/>'
        if len(points) > 1:
            yield f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>'
        at = f'x="{WIDTH - RIGHT + 14}" y="{TOP + 8 + 20 * number}"'
        yield f'<text {at} fill="{colour}" {FONT}>{escape(name)}</text>'

    def draw(self) -> str:
        size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
        lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', '<rect width="100%" height="100%" fill="white"/>']
        lines += self.axes()
        for number, name in enumerate(self.names):
            lines += self.series(number, name)
        return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("figures", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--mtu", type=int, default=1500)
    given = parser.parse_args()
    found = json.loads(given.figures.read_bytes())
    figures = [item for item in found["figures"] if item["mtu"] == given.mtu and not item["synced"]]
    plot = Plot(figures, f"{found['mib']} MiB through a one-way wire, MTU {given.mtu}")
    given.target.write_text(plot.draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
