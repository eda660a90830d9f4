"""A document that is followed: the commands of its ``console`` blocks, run in order, and what it says they answer.

    low$ tidegate pack transfer.yaml           a command, on the side before the $
    packed 7f3a-0001: …                        what it answers; a line of … alone stands for any lines
    exit code 21                               how it ended, where not with 0

Between the blocks, ``<!-- hands: … -->`` is what hands do: sticks, damage, a new file; a line of shell each. What is
different every time (times, sizes, digests, codes, words) may be different; where a later command has such a thing in
it, it is the one that was answered.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_FENCE = re.compile(r"^```console\n(.*?)^```$|<!-- hands: (.*?) -->", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"(low|high)\$ (.*)")
#: what differs from run to run; what a command may take up again is learned
_DIFFERS = re.compile(
    r"(?P<words>(?<=fingerprint: )[a-z]+(?: [a-z]+){11})"
    r"|(?P<line>^SITE [A-Z0-9 -]+)"
    r"|(?P<slip>^(?:SLIP|HELD|MISSING|CODE|LEDGER|ROOT|SIGN|SEAL) [^\n]+)"
    r"|(?P<code>\b(?!\d{4}-\w{4}-)[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}\b)"
    r"|(?P<key>\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+)"
    r"|(?P<hex>\b[0-9a-f]{8,64}\b)"
    r"|(?P<time>\b\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\dZ)?)"
    r"|(?P<about>, about [0-9.]+s(?: to [0-9.]+s)?)"
    r"|(?P<span>\b[0-9.]+m?s\b)"
    r"|(?P<size>\b[0-9.]+ (?:B|KiB|MiB|GiB)\b)"
    r"|(?P<entries>\b\d+ entries)",
    re.MULTILINE,
)
_LEARNED = ("words", "line", "code", "hex")
_ANY = {
    "words": r"[a-z]+(?: [a-z]+){11}", "line": r"SITE [A-Z0-9 -]+", "code": r"[0-9A-Z]{4}-[0-9A-Z]{4}",
    "slip": r"[A-Z]+ [A-Z0-9 +-]+", "key": r"\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+",
    "hex": r"[0-9a-f]{8,64}", "time": r"\d{4}-[0-9T:Z-]+",
    "about": r"(?:, about [0-9.]+s(?: to [0-9.]+s)?)?", "span": r"[0-9.]+m?s", "size": r"[0-9.]+ [KMG]?i?B",
    "entries": r"\d+ entries",
}  # fmt: skip
TIME_LIMIT_SECONDS = 120


@dataclass(frozen=True)
class Step:
    """One command of the document (`side` "low" or "high"), or what hands do ("")."""

    side: str
    command: str
    answer: tuple[str, ...] = ()
    #: where the answer stands in the document
    span: tuple[int, int] = (0, 0)


def steps_of(text: str) -> Iterator[Step]:
    """The document's steps in their order."""
    for block in _FENCE.finditer(text):
        if block[2] is not None:
            yield Step("", block[2])
            continue
        found = list(re.finditer(_PROMPT.pattern + r"\n", block[1]))
        ends = [*(match.start() for match in found[1:]), len(block[1])]
        for match, end in zip(found, ends, strict=True):
            span = block.start(1) + match.end(), block.start(1) + end
            yield Step(match[1], match[2], tuple(text[slice(*span)].splitlines()), span)


@dataclass
class Follower:
    """Runs steps in `folder`. `names` maps what the document calls things to what they are here."""

    folder: Path
    prelude: str
    names: dict[str, str]
    #: the first digits of the channel's id, which are 7f3a in the document
    prefix: str = ""
    learned: dict[str, str] = field(default_factory=dict)

    def run(self, step: Step) -> list[str]:
        """The lines that the step answers, with the document's names."""
        environment = {**os.environ, "FOLDER": str(self.folder)}
        if step.side:
            environment["TIDEGATE_ROOT"] = str(self.folder / step.side)
        done = subprocess.run(
            ["bash", "-c", f"{self.prelude}\n{self._here(step.command)}"],
            cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=TIME_LIMIT_SECONDS, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        lines = self._as_written(done.stdout).splitlines()
        if done.returncode:
            lines.append(f"exit code {done.returncode}")
        assert step.side or not done.returncode, f"{step.command}\n{done.stdout}"
        return lines

    def check(self, step: Step) -> None:
        """Run the step; it must answer what the document says."""
        lines = self.run(step)
        text = "\n".join([f"{step.side}$ {step.command}", "--- document", *step.answer, "--- answered", *lines])
        assert self.fits(step, lines), text

    def fits(self, step: Step, lines: list[str]) -> bool:
        """Whether these lines are the step's answer; learns what stands here for what the document has."""
        match = re.fullmatch(_pattern(step.answer), "\n".join(map(_squeezed, lines)))
        if match is None or not step.side:
            return not step.side
        for number, item in enumerate(_DIFFERS.finditer("\n".join(map(_squeezed, step.answer)))):
            if item.lastgroup in _LEARNED:
                self.learned[item[0]] = match[f"t{number}"]
        return True

    def _here(self, text: str) -> str:
        for written, real in {**self.learned, **self.names}.items():
            text = text.replace(written, real)
        return re.sub(r"\b7f3a(?=-\d{4}\b)", self.prefix or "7f3a", text)

    def _as_written(self, text: str) -> str:
        if self.prefix:
            slip = rf"^((?:CODE|SLIP 1 [A-Z0-9-]+) ){self.prefix.upper()}\b"
            text = re.sub(slip, r"\g<1>7F3A", text, flags=re.MULTILINE)
            text = re.sub(rf"\b{self.prefix}(?=-\d{{4}}\b)", "7f3a", text)
        for written, real in self.names.items():
            text = text.replace(real, written)
        return text


def _squeezed(line: str) -> str:
    """Columns are as wide as what stands in them."""
    return re.sub(r" {2,}", "  ", line).rstrip()


def _pattern(answer: tuple[str, ...]) -> str:
    text = "\n".join(map(_squeezed, answer))
    parts, end = [], 0
    for number, item in enumerate(_DIFFERS.finditer(text)):
        parts += [re.escape(text[end : item.start()]), f"(?P<t{number}>{_ANY[str(item.lastgroup)]})"]
        end = item.end()
    whole = "".join(parts) + re.escape(text[end:])
    return re.sub(r"(?m)^…$", r"(?:.*\\n?)*?", whole).replace("…", ".*?")
