"""``tidegate slip read``: take what the high side printed."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import SlipMistypedError, UsageError
from tidegate.files import host_error

if TYPE_CHECKING:
    from tidegate_sender.slips.reading import SlipReport

INPUT_MAX_BYTES = 8192
SCANNED = "QR-Code:"  # what zbarimg writes before the text unless it is told --raw


@click.command("read", short_help="Low side: take a slip or the code of one bundle.")
@click.argument("what", metavar="TEXT|FILE|-", nargs=-1, required=True)
@shared_options(writes=True)
def command(invocation: Invocation, what: tuple[str, ...]) -> None:
    """Take a slip as it was typed (in quotes), scanned from its QR code, in a FILE, or from standard input (-); or a
    code like 7f3a-0192-K4PX-9TQW. What it confirms is the base of the next pack."""
    from tidegate_sender.slips.reading import read_slip

    workspace = invocation.workspace(Role.LOW)
    done = read_slip(workspace, slip_text(" ".join(what)), dry_run=invocation.dry_run)
    invocation.report.closing(
        _summary(done, dry_run=invocation.dry_run),
        site=done.site,
        outcome="confirmed" if done.is_new else "nothing",
        held=str(done.held),
        missing=str(done.missing),
        new=str(done.new),
        missing_numbers=list(done.missing),
        not_told=str(done.not_told),
        ledger_size=done.size,
        cosigned=done.is_cosigned,
        proof_wanted_from=done.proof_from,
        dry_run=invocation.dry_run,
    )


def slip_text(what: str) -> str:
    """The text that is meant: standard input, a file's, or the words themselves."""
    if what == "-":
        return _decoded(sys.stdin.buffer.read(INPUT_MAX_BYTES + 1))
    path = Path(what)
    try:
        if len(what) > 255 or not path.is_file():  # 255: no file name on Linux is longer
            return _typed(what)
        with path.open("rb") as file:
            return _decoded(file.read(INPUT_MAX_BYTES + 1))
    except (OSError, ValueError) as error:
        if isinstance(error, OSError):
            raise host_error(error, f"reading {what}") from None
        raise UsageError("the slip's text has a zero byte") from None


def _typed(what: str) -> str:
    """Words of a slip or a code; one word with a dot or slash in it was meant as a file."""
    if not any(letter.isspace() for letter in what) and ("." in what or "/" in what):
        raise UsageError(f"{what[:200]}: no such file")
    return what


def _decoded(data: bytes) -> str:
    try:
        return data.decode("ascii").removeprefix(SCANNED)
    except UnicodeDecodeError:
        raise SlipMistypedError(
            "the file is no text of a slip",
            hint="a picture is scanned first: zbarimg --raw FILE | tidegate slip read -",
        ) from None


def _summary(done: "SlipReport", *, dry_run: bool) -> str:
    if not done.is_new and not done.is_cosigned:
        return f"nothing to do: this was read before; {done.site} holds {done.held.words() or 'nothing'}"
    would = "would confirm" if dry_run else "confirmed"
    parts = [f"{done.site} holds {done.held.words() or 'nothing'}; {would} {done.new.words() or 'nothing new'}"]
    if done.missing:
        them = "it" if len(done.missing) == 1 else "them"
        parts.append(f'missing there: {done.missing.words()}: "tidegate resend" sends {them} again')
    if done.not_told:
        them = "it" if len(done.not_told) == 1 else "them"
        text = f"sent and not spoken of: {done.not_told.words()}, on the way or lost"
        parts.append(f'{text}: "tidegate resend {str(done.not_told).replace("+", " ")}" sends {them} again')
    if done.size:
        before = f", {done.before} when it was last seen" if done.before else ", seen for the first time"
        parts.append(f"its ledger has {done.size} entries{before}")
    if done.is_cosigned:
        parts.append(f"{'to be co-signed' if dry_run else 'co-signed'}: the next bundle brings it up")
    elif done.proof_from is not None:
        parts.append(f'not co-signed: "tidegate slip --proof-from {done.proof_from}" there prints the proof')
    return "; ".join([*parts, "nothing was changed" if dry_run else 'next: "tidegate pack …" leaves out what it holds'])
