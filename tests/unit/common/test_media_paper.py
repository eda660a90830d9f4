"""The label and the custody slip: read by pdftotext, rendered by pdftoppm, their code read by another reader."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tidegate.media.paper import StickLabel, draw_labels

needs_poppler = pytest.mark.skipif(shutil.which("pdftotext") is None, reason="apt-get install poppler-utils")
LABEL = StickLabel(
    label="STICK-07",
    token="000102030405060708090a0b0c0d0e0f",
    channel="plant",
    sites=("plant-7", "plant-8"),
    bundle="7f3a-0192",
    volume=1,
    volumes=2,
    classification="Internal use",
    device="SanDisk Ultra (28.7 GiB), serial 4C530001",
    if_found="If found: call +49 555 0100. Do not plug it in.",
)


def pages(tmp_path: Path, *labels: StickLabel) -> list[str]:
    """The words of each page, as somebody reads them."""
    path = tmp_path / "label.pdf"
    path.write_bytes(draw_labels(labels))
    done = subprocess.run(["pdftotext", "-layout", str(path), "-"], capture_output=True, text=True, check=True)
    return [" ".join(page.split()) for page in done.stdout.split("\f") if page.strip()]


@needs_poppler
def test_a_label_says_what_the_stick_is_where_it_goes_and_what_a_finder_does(tmp_path: Path) -> None:
    (page,) = pages(tmp_path, LABEL)
    for words in (
        "STICK-07",
        "stick 1 of 2",
        "bundle 7f3a-0192",
        "to plant-7, plant-8",
        "Internal use",
        "If found: call +49 555 0100. Do not plug it in.",
        "Custody slip",
        "handed over by: name, signature",
        "received by: name, signature",
        "serial 4C530001",
        LABEL.token,
    ):
        assert words in page


@needs_poppler
def test_each_stick_has_a_page_and_an_unknown_number_a_gap_to_fill_in(tmp_path: Path) -> None:
    second = StickLabel(bundle="7f3a-0192", volume=2)
    first, other = pages(tmp_path, LABEL, second)
    assert "stick 1 of 2" in first
    assert "stick 2 of ____" in other
    assert "not registered" in other


@needs_poppler
def test_hostile_and_foreign_texts_are_escaped_and_stay_on_the_page(tmp_path: Path) -> None:
    label = StickLabel(label="S", bundle="7f3a-0001", volume=1, classification="a\x1b[31m\nb 机密 " + "x" * 500)
    (page,) = pages(tmp_path, label)
    assert "\x1b" not in page
    assert "\\u673a" in page


@needs_poppler
def test_letters_of_european_languages_are_printed_as_they_are(tmp_path: Path) -> None:
    (page,) = pages(tmp_path, StickLabel(label="S", classification="Nur für den Dienstgebrauch, à usage réservé"))
    assert "Nur für den Dienstgebrauch, à usage réservé" in page


def test_the_same_label_gives_the_same_bytes() -> None:
    assert draw_labels((LABEL,)) == draw_labels((LABEL,))


@needs_poppler
@pytest.mark.skipif(shutil.which("zbarimg") is None, reason="apt-get install zbar-tools")
def test_the_code_on_paper_is_read_by_another_reader(tmp_path: Path) -> None:
    path = tmp_path / "label.pdf"
    path.write_bytes(draw_labels((LABEL,)))
    subprocess.run(["pdftoppm", "-r", "150", "-png", str(path), str(tmp_path / "page")], check=True)
    (image,) = tmp_path.glob("page*.png")
    done = subprocess.run(["zbarimg", "--raw", "-q", str(image)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"TIDEGATE:MEDIUM:1:plant:STICK-07:{LABEL.token}:7f3a-0192:1/2"
    assert done.stdout.strip() == LABEL.code
