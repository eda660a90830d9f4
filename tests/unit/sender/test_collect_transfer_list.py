"""Transfer lists: what they say, and how their faults are named."""

from pathlib import Path

import pytest

from tidegate.errors import UsageError
from tidegate_sender.collect.items import FilesItem, ImageItem, LayoutItem
from tidegate_sender.collect.lists.transfer_list import parse_transfer_list, read_transfer_list, schema
from tidegate_sender.collect.lists.yaml_places import MAX_BYTES

FOLDER = Path("/lists")
FULL = b"""\
tidegate: 1
images:
  - localhost:5000/app:1
  - ref: quay.io/multi/arch:2
    platforms: [linux/arm64, linux/amd64]
    required: true
    ticket: CHG-1234
    justification: the plant needs it
layouts:
  - path: layouts/base
    tag: v1
    name: base:1
files:
  - ./docs
  - path: /srv/x.iso
    name: Rescue Disk.iso
"""


def fault(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse_transfer_list(text.encode(), "list.yaml", FOLDER)
    return caught.value.message


def test_every_field_arrives() -> None:
    first, second, layout, docs, disk = parse_transfer_list(FULL, "list.yaml", FOLDER)
    assert isinstance(first, ImageItem)
    assert (first.reference.name, first.required, first.origin) == ("localhost:5000/app:1", False, "list.yaml:3:5")
    assert isinstance(second, ImageItem)
    assert second.platforms == ("linux/arm64", "linux/amd64")
    assert (second.required, second.ticket, second.justification) == (True, "CHG-1234", "the plant needs it")
    assert isinstance(layout, LayoutItem)
    assert (layout.path, layout.tag, layout.name) == (FOLDER / "layouts/base", "v1", "docker.io/library/base:1")
    assert isinstance(docs, FilesItem)
    assert (docs.path, docs.title, docs.name) == (FOLDER / "docs", "docs", "files/docs")
    assert isinstance(disk, FilesItem)
    assert (disk.path, disk.name) == (Path("/srv/x.iso"), "files/rescue-disk.iso")


def test_a_list_may_be_empty() -> None:
    assert parse_transfer_list(b"tidegate: 1\n", "list.yaml", FOLDER) == ()


def test_a_list_on_the_disk_names_paths_from_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("tidegate: 1\nfiles: [docs]\n")
    (item,) = read_transfer_list(tmp_path / "list.yaml")
    assert isinstance(item, FilesItem)
    assert item.path == tmp_path / "docs"
    with pytest.raises(UsageError, match=r"gone\.yaml: No such file"):
        read_transfer_list(tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tidegate: 1\nimages:\n  - reff: a\n    ref: b\n", "3:5: images[1].reff: unknown field; did you mean 'ref'?"),
        ("tidegate: 1\nimags: []\n", "2:1: imags: unknown field; did you mean 'images'?"),
        (
            "tidegate: 1\nimages:\n- ref: a\n  platform: [linux/amd64]\n",
            "4:3: images[1].platform: unknown field; did you mean 'platforms'?",
        ),
        (
            "tidegate: 1\nzzz: 1\n",
            "2:1: zzz: unknown field; known here are "
            "tidegate, name, images, layouts, files, keys, charts, tars, imgpkg, lists",
        ),
        ("images: []\n", "1:1: top level: 'tidegate' is missing"),
        ("tidegate: 2\n", "1:11: tidegate: 2 is a version that is not known here; this is version 1"),
        ("tidegate: 1\nimages:\n  - required: true\n", "3:5: images[1]: 'ref' is missing"),
        ("tidegate: 1\nfiles:\n  - a\n  - 1.10\n", "4:5: files[2]: 1.1 is not a set of fields"),
        ("tidegate: 1\nfiles:\n  - path: 12\n", "3:11: files[1].path: 12 is not text; put it in quotes"),
        (
            "tidegate: 1\nfiles:\n  - path: 2024-01-01\n",
            '3:11: files[1].path: "2024-01-01" is not text; put it in quotes',
        ),
        (
            "tidegate: 1\nfiles:\n  - {path: a, required: yes please}\n",
            '3:25: files[1].required: "yes please" is not true or false',
        ),
        ("tidegate: 1\nimages: a\n", '2:9: images: "a" is not a list'),
        (
            "tidegate: 1\nimages:\n  - {ref: a, platforms: [amd64]}\n",
            '3:26: images[1].platforms[1]: "amd64" is not written like linux/amd64',
        ),
        (
            "tidegate: 1\nimages:\n  - App:1\n",
            "3:5: images[1]: 'App:1' is no image reference: 'library/App' is no repository; "
            "repositories are written in small letters",
        ),
        ("tidegate: 1\nfiles: [/]\n", "2:9: files[1]: / has no name of its own: give it one in a transfer list"),
        ("tidegate: 1\nfiles:\n  - {path: a, path: b}\n", "3:15: field 'path' stands here twice"),
        ("tidegate: 1\n1: 2\n", "2:1: '1' cannot be a field's name: it is no text"),
        ("tidegate: &x 1\nimages: *x\n", "2:9: aliases (*x) are not read here"),
        ("- a\n", '1:1: top level: ["a"] is not a set of fields'),
        ("", "1:1: top level: null is not a set of fields"),
    ],
)
def test_a_fault_is_named_with_file_line_column_and_field(text: str, message: str) -> None:
    assert fault(text) == f"list.yaml:{message}"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("tidegate: 1\nimages: [\n", "list.yaml:3:1: is no YAML"),
        ("tidegate: 1\n\timages: []\n", "list.yaml:2:1: is no YAML"),
        ("tidegate: !!python/object:os.system 1\n", "list.yaml:1:11: is no YAML"),
        ("tidegate: 1\n---\ntidegate: 1\n", "list.yaml:2:1: is no YAML"),
        ("tidegate: !!int abc\n", "list.yaml:1:11: "),
        ("a: " + "[" * 17, "list.yaml:1:19: nested deeper than 16 levels"),
    ],
)
def test_what_is_no_yaml_is_named_with_its_place(text: str, place: str) -> None:
    assert fault(text).startswith(place)


def test_bytes_that_are_no_text_are_named_by_line() -> None:
    with pytest.raises(UsageError, match=r"^list\.yaml:2: is not UTF-8"):
        parse_transfer_list(b"tidegate: 1\n\xff", "list.yaml", FOLDER)


def test_a_list_above_the_limit_is_not_read() -> None:
    with pytest.raises(UsageError, match="limit"):
        parse_transfer_list(b"#" * (MAX_BYTES + 1), "list.yaml", FOLDER)


def test_all_faults_are_named_at_once_in_the_order_of_the_file() -> None:
    lines = fault("tidegate: 1\nimages:\n  - rf: a\nfils: []\nlayouts: 3\n").splitlines()
    assert [line.split(":")[1] for line in lines] == ["3", "3", "4", "5"]


def test_more_faults_than_a_screen_holds_are_counted() -> None:
    text = "tidegate: 1\nfiles:\n" + "  - 1\n" * 30
    assert fault(text).splitlines()[-1] == "list.yaml: and 10 faults more"


def test_the_published_schema_is_a_valid_schema() -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(schema())
