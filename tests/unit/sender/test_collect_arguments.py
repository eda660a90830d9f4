"""What an argument of `pack` means."""

from pathlib import Path

import pytest

from tidegate.errors import UsageError
from tidegate_sender.collect.items import FilesItem, ImageItem, LayoutItem
from tidegate_sender.collect.lists.arguments import Argument, ArgumentKind, classify_argument, items_from_arguments

LIST = "tidegate: 1\nimages: [a, b]\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("text", ["./docs", "../docs", "/docs", ".", "..", "./x.iso", "./app:1", "/no/such"])
def test_a_beginning_of_a_path_makes_a_path(text: str) -> None:
    assert classify_argument(text) == Argument(ArgumentKind.PATH, text)


@pytest.mark.parametrize(
    "text", ["app:1", "localhost:5000/app:1", "docs", "quay.io/a/b.yaml:1", ".hidden", "registry.example/app.yaml"]
)
def test_anything_else_is_an_image(text: str) -> None:
    assert classify_argument(text) == Argument(ArgumentKind.IMAGE, text)


def test_a_folder_without_a_beginning_of_a_path_is_an_image(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    assert classify_argument("docs").kind is ArgumentKind.IMAGE


@pytest.mark.parametrize("name", ["transfer.yaml", "transfer.YML", "./transfer.yaml"])
@pytest.mark.parametrize(
    "text", [LIST, "# a comment\n" + LIST, "images: []\ntidegate: 1\n", "\ufefftidegate: 1\n", '"tidegate": 2\n']
)
def test_a_yaml_with_tidegate_at_its_top_is_a_transfer_list(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert classify_argument(name) == Argument(ArgumentKind.TRANSFER_LIST, name)


def test_another_yaml_is_a_file_when_written_as_a_path(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("replicas: 3\nx:\n  tidegate: 1\n")
    assert classify_argument("./values.yaml").kind is ArgumentKind.PATH
    with pytest.raises(UsageError, match="no top-level field") as caught:
        classify_argument("values.yaml")
    assert "./values.yaml" in caught.value.hint


def test_a_transfer_list_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match=r"lists/gone\.yaml: no such file"):
        classify_argument("lists/gone.yaml")


@pytest.mark.parametrize(
    ("text", "path", "tag"),
    [("oci:./a", "./a", ""), ("oci:/a/b:v1", "/a/b", "v1"), ("oci:a:q.io/b:1", "a", "q.io/b:1")],
)
def test_oci_begins_a_layout(text: str, path: str, tag: str) -> None:
    (item,) = items_from_arguments([text], platforms=("linux/amd64",))
    assert item == LayoutItem(path=Path(path), tag=tag, platforms=("linux/amd64",))


def test_a_layout_without_a_folder_is_refused() -> None:
    with pytest.raises(UsageError, match="needs a folder"):
        items_from_arguments(["oci:"])


def test_arguments_become_items_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "transfer.yaml").write_text(LIST)
    items = items_from_arguments(["./docs", "transfer.yaml", "c"])
    assert [item.label for item in items] == [
        "docs", "docker.io/library/a:latest", "docker.io/library/b:latest", "docker.io/library/c:latest"
    ]  # fmt: skip
    assert isinstance(items[0], FilesItem)
    assert isinstance(items[1], ImageItem)
    assert (items[1].origin, items[3].origin) == ("transfer.yaml:2:10", "command line")


def test_a_file_that_cannot_be_a_reference_gets_the_hint_to_write_a_path(tmp_path: Path) -> None:
    (tmp_path / "My Docs").mkdir()
    with pytest.raises(UsageError) as caught:
        items_from_arguments(["My Docs"])
    assert "./My Docs" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "kind"),
    [("tar:no.tar", ArgumentKind.TAR), ("list:no.txt", ArgumentKind.LIST), ("chart:no-1.tgz", ArgumentKind.CHART)],
)
def test_a_file_that_is_not_there_is_no_image_of_that_name(text: str, kind: ArgumentKind) -> None:
    assert classify_argument(text) == Argument(kind, text.partition(":")[2])
    assert classify_argument(f"{kind}:1.0").kind is ArgumentKind.IMAGE


@pytest.mark.parametrize("scheme", ["docker", "https", "http"])
def test_an_address_in_place_of_a_reference_is_said_with_what_to_write(scheme: str) -> None:
    with pytest.raises(UsageError, match="is an address") as caught:
        items_from_arguments((f"{scheme}://localhost:5000/team/app:1",))
    assert caught.value.hint == "write it as localhost:5000/team/app:1"
    with pytest.raises(UsageError) as caught:
        items_from_arguments((f"{scheme}://ada:secret@localhost/app:1",))
    assert "secret" not in f"{caught.value} {caught.value.hint}"
