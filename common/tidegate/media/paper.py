"""The paper that goes with a medium: a label to cut out, and a custody slip with lines to sign, one page a medium.

Made with reportlab (docs/decisions/0013-media-register.md); the QR code's modules come from segno and are drawn as
rectangles, sharp at any size. The same values give the same bytes. Nothing is opened here.
"""

from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING

from tidegate.text import printable

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas

#: millimetres, on A4
PAGE_WIDTH, PAGE_HEIGHT, MARGIN = 210.0, 297.0, 15.0
LABEL_WIDTH, LABEL_HEIGHT = 130.0, 80.0
QR_SIZE = 36.0
CUSTODY_ROWS = 6
#: characters of a text that somebody chose
TEXT_MAX = 200
IF_FOUND_LINES_MAX = 3

REGULAR, BOLD = "Vera", "VeraBd"
_MM = 72 / 25.4  # points


@dataclass(frozen=True, slots=True)
class StickLabel:
    """What is printed for one medium. `label` is empty for one that is not registered; `volumes` is None where it is
    not known yet how many there will be."""

    label: str = ""
    token: str = ""
    channel: str = ""
    sites: tuple[str, ...] = ()
    bundle: str = ""
    volume: int | None = None
    volumes: int | None = None
    classification: str = ""
    device: str = ""
    if_found: str = ""

    @property
    def place_in_set(self) -> str:
        """``stick 1 of 2``; a gap to fill in by hand where the number is not known; empty without a bundle."""
        if self.volume is None:
            return ""
        return f"stick {self.volume} of {self.volumes if self.volumes is not None else '____'}"

    @property
    def code(self) -> str:
        """What the QR code says: fixed fields, in their order, with colons between."""
        part = "" if self.volume is None else f"{self.volume}/{self.volumes or ''}"
        return ":".join(("TIDEGATE", "MEDIUM", "1", self.channel, self.label, self.token, self.bundle, part))


def draw_labels(labels: tuple[StickLabel, ...]) -> bytes:
    """The PDF: a page for each of `labels`."""
    from reportlab.pdfgen.canvas import Canvas

    _load_fonts()
    file = BytesIO()
    canvas = Canvas(file, pagesize=(PAGE_WIDTH * _MM, PAGE_HEIGHT * _MM), invariant=1)
    canvas.setTitle("Tidegate media labels")
    for label in labels:
        page = _Page(canvas)
        _draw_label(page, label)
        _draw_custody_slip(page, label)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


@cache
def _load_fonts() -> None:
    """The fonts that come with reportlab: embedded, so that they look the same everywhere."""
    from reportlab.pdfbase.pdfmetrics import registerFont
    from reportlab.pdfbase.ttfonts import TTFont

    for name in (REGULAR, BOLD):
        registerFont(TTFont(name, f"{name}.ttf"))


class _Page:
    """A page in millimetres, measured from its upper left corner."""

    def __init__(self, canvas: "Canvas") -> None:
        self._canvas = canvas

    def text(self, x: float, y: float, text: str, size: float, *, bold: bool = False, room: float = 0) -> None:
        """One line with its baseline at `y`; made smaller, to half, and then cut where it is wider than `room`."""
        font, safe = (BOLD if bold else REGULAR), _drawable(text, TEXT_MAX)
        width = self._canvas.stringWidth(safe, font, size) / _MM
        if room and width > room:
            size = max(size / 2, size * room / width)
            while len(safe) > 1 and self._canvas.stringWidth(safe, font, size) / _MM > room:
                safe = safe[:-2] + "…"
        self._canvas.setFont(font, size)
        self._canvas.drawString(x * _MM, (PAGE_HEIGHT - y) * _MM, safe)

    def paragraph(self, x: float, y: float, text: str, size: float, room: float, lines_max: int) -> None:
        from reportlab.lib.utils import simpleSplit

        lines = simpleSplit(_drawable(text, TEXT_MAX * 2), REGULAR, size, room * _MM)[:lines_max]
        for number, line in enumerate(lines):
            self.text(x, y + number * size * 0.45, line, size, room=room)

    def line(self, x: float, y: float, x_end: float, y_end: float, width: float = 0.5) -> None:
        self._canvas.setLineWidth(width)
        self._canvas.line(x * _MM, (PAGE_HEIGHT - y) * _MM, x_end * _MM, (PAGE_HEIGHT - y_end) * _MM)

    def frame(self, x: float, y: float, width: float, height: float, *, dashed: bool = False) -> None:
        self._canvas.setLineWidth(0.5)
        self._canvas.setDash((3, 3) if dashed else ())
        self._canvas.rect(x * _MM, (PAGE_HEIGHT - y - height) * _MM, width * _MM, height * _MM)
        self._canvas.setDash(())

    def code(self, x: float, y: float, size: float, text: str) -> None:
        """A QR code of `size`, the quiet zone of four modules included."""
        import segno

        rows = tuple(segno.make(text, error="m", micro=False).matrix_iter(border=4))
        module = size / len(rows)
        for row_number, row in enumerate(rows):
            for column, is_dark in enumerate(row):
                if is_dark:
                    left, bottom = x + column * module, y + (row_number + 1) * module
                    self._canvas.rect(
                        left * _MM, (PAGE_HEIGHT - bottom) * _MM, module * _MM, module * _MM, stroke=0, fill=1
                    )


def _drawable(text: str, limit: int) -> str:
    """`text` on one line, with what the font cannot draw escaped."""
    from reportlab.pdfbase.pdfmetrics import getFont

    known = getFont(REGULAR).face.charToGlyph  # type: ignore[attr-defined]
    safe = printable(" ".join(text.split()), limit)
    return "".join(c if ord(c) in known else c.encode("unicode_escape").decode("ascii") for c in safe)


# --- what stands where ------------------------------------------------------------------------


def _draw_label(page: _Page, label: StickLabel) -> None:
    """The upper part, to cut out."""
    x, y = MARGIN, MARGIN
    room = LABEL_WIDTH - QR_SIZE - 12
    page.frame(x, y, LABEL_WIDTH, LABEL_HEIGHT, dashed=True)
    page.text(x + 5, y + 13, label.label or label.bundle or "medium", 28, bold=True, room=room)
    lines = [
        (label.place_in_set, 14.0, True),
        (f"bundle {label.bundle}" if label.bundle else "", 12.0, False),
        (f"to {', '.join(label.sites)}" if label.sites else "", 12.0, False),
        (label.classification, 12.0, True),
    ]
    at = y + 22
    for text, size, is_bold in lines:
        if text:
            page.text(x + 5, at, text, size, bold=is_bold, room=room)
            at += 8
    page.code(x + LABEL_WIDTH - QR_SIZE - 3, y + 3, QR_SIZE, label.code)
    if label.channel:
        page.text(x + LABEL_WIDTH - QR_SIZE, y + QR_SIZE + 6, f"channel {label.channel}", 8, room=QR_SIZE - 4)
    page.line(x + 5, y + 61, x + LABEL_WIDTH - 5, y + 61)
    page.paragraph(x + 5, y + 67, label.if_found, 10, LABEL_WIDTH - 10, IF_FOUND_LINES_MAX)


def _draw_custody_slip(page: _Page, label: StickLabel) -> None:
    """The lower part: who has had it, by signature."""
    x, y, width = MARGIN, MARGIN + LABEL_HEIGHT + 16, PAGE_WIDTH - 2 * MARGIN
    page.text(x, y, "Custody slip", 16, bold=True)
    facts = (
        ("medium", label.label or "not registered"),
        ("token", label.token),
        ("device", label.device),
        (
            "carries",
            ", ".join(text for text in (label.bundle and f"bundle {label.bundle}", label.place_in_set) if text),
        ),
        ("to", ", ".join(label.sites)),
        ("classification", label.classification),
    )
    at = y + 9
    for name, value in facts:
        if value:
            page.text(x, at, name, 9)
            page.text(x + 28, at, value, 9, room=width - 28)
            at += 5.5
    _draw_signature_table(page, x, at + 3, width)


def _draw_signature_table(page: _Page, x: float, y: float, width: float) -> None:
    columns = (
        (0.0, "date, time, place"),
        (48.0, "handed over by: name, signature"),
        (114.0, "received by: name, signature"),
    )
    height = 14.0
    for offset, title in columns:
        page.text(x + offset + 1, y + 4, title, 8, bold=True)
    bottom = y + 6 + CUSTODY_ROWS * height
    for row in range(CUSTODY_ROWS + 1):
        page.line(x, y + 6 + row * height, x + width, y + 6 + row * height)
    for offset in (*(offset for offset, _ in columns), width):
        page.line(x + offset, y, x + offset, bottom)
    page.line(x, y, x + width, y)
    page.text(x, bottom + 10, "returned and compared (tidegate media return):", 9)
    page.line(x + 80, bottom + 10.5, x + width, bottom + 10.5)
    page.text(x + 80, bottom + 14.5, "date, result, signature", 7)
