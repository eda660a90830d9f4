"""What upstream removed is listed, removed when somebody says so, and nothing else goes with it."""

import json
from pathlib import Path

from content import add_image, tar_of
from registry import running_registry
from two_sides import Sides

from tidegate.depot.store import Depot
from tidegate.registry.client import RegistryClient
from tidegate_receiver.loaders.items import LoadItem
from tidegate_receiver.loaders.registry import RegistryLoader


def fill(host: str, folder: Path, contents: dict[str, str]) -> None:
    source = Depot(folder / "source")
    for name, content in contents.items():
        root = add_image(source, [tar_of({"content": content.encode()})])
        RegistryLoader(source, host).load(LoadItem(f"{host}/{name}", "image", name, root))


def carry(sides: Sides, host: str, *names: str) -> str:
    path = sides.folder / "list.yaml"
    path.write_text("tidegate: 1\nimages:\n" + "".join(f'  - "{host}/{name}"\n' for name in names))
    bundle = str(sides.low.good("pack", path, "--json").objects[-1]["bundle"])
    sides.send(bundle)
    sides.high.good("receive", sides.stick)
    return bundle


def test_what_left_the_list_goes_from_a_registry_and_the_stage_and_nothing_else(sides: Sides, tmp_path: Path) -> None:
    with running_registry(tmp_path / "up") as up, running_registry(tmp_path / "one") as one:
        contents = {"a/web:1": "one", "a/web:2": "two", "a/web:same": "two", "b/tool:1": "tool", "c/own:1": "c"}
        fill(up, tmp_path, contents)
        client = RegistryClient(one)
        sides.high.good("load", carry(sides, up, *contents), "--to", f"{one}/in")
        sides.high.good("prune", "--to", f"{one}/in")
        assert sides.high.good("prune", "--json").objects[-1]["items"] == []
        sides.high.good("load", carry(sides, up, "a/web:2", "c/own:1"), "--to", f"{one}/in")
        # Somebody has put something else under the tag meanwhile.
        theirs = client.manifest("in/a/web", "1")
        fill(one, tmp_path, {"in/b/tool:1": "changed by hand"})
        listed = sides.high.good("prune", "--to", f"{one}/in", "--json").objects[-1]
        states = {str(item["name"]).partition("/")[2]: item["state"] for item in listed["items"]}  # type: ignore[attr-defined]
        assert states == {"a/web:1": "goes", "a/web:same": "stays", "b/tool:1": "stays"}
        assert client.manifest_digest("in/a/web", "1") == theirs.digest  # listing removes nothing
        sides.high.events()
        sides.high.good("prune", "--to", f"{one}/in", "--remove")
        assert sides.high.events() == ["delete begun", "delete done"]
        assert client.manifest_digest("in/a/web", "1") is None
        for repository, tag in (("in/a/web", "2"), ("in/a/web", "same"), ("in/b/tool", "1"), ("in/c/own", "1")):
            assert client.manifest_digest(repository, tag), (repository, tag)
        again = sides.high.good("prune", "--to", f"{one}/in", "--remove", "--json").objects[-1]
        assert {item["state"] for item in again["items"]} == {"stays"}  # type: ignore[attr-defined]
    sides.high.good("prune", "--remove")
    assert set(sides.high.stage()) == {"a/web:2", "c/own:1"}
    sides.high.check()


def test_what_came_back_is_not_removed(sides: Sides, tmp_path: Path) -> None:
    with running_registry(tmp_path / "up") as up:
        fill(up, tmp_path, {"web:1": "one", "tool:1": "tool"})
        for names in (("web:1", "tool:1"), ("tool:1",), ("web:1", "tool:1")):
            sides.high.good("load", carry(sides, up, *names))
    assert sides.high.good("prune", "--remove", "--json").objects[-1]["items"] == []
    assert set(sides.high.stage()) == {"web:1", "tool:1"}


def test_a_registry_that_deletes_nothing_is_said_and_recorded(sides: Sides, tmp_path: Path) -> None:
    with running_registry(tmp_path / "up") as up:
        fill(up, tmp_path, {"web:1": "one", "tool:1": "tool"})
        with running_registry(tmp_path / "one") as one:
            sides.high.good("load", carry(sides, up, "web:1", "tool:1"), "--to", one)
            sides.high.good("load", carry(sides, up, "tool:1"), "--to", one)
        with running_registry(tmp_path / "one", port=int(one.rpartition(":")[2]), deletes=False):
            answer = sides.high.fails(3, "prune", "--to", one, "--remove")
            assert "could not be removed" in answer.err
            assert RegistryClient(one).manifest_digest("web", "1")
    (entry,) = [item for item in sides.high.entries() if item["event"] == "delete" and item["outcome"] == "failed"]
    assert json.dumps(entry["names"]) == json.dumps([f"{up}/web:1"])


def test_what_was_put_into_a_folder_is_listed_and_left(sides: Sides, tmp_path: Path) -> None:
    with running_registry(tmp_path / "up") as up:
        fill(up, tmp_path, {"web:1": "one", "tool:1": "tool"})
        for names in (("web:1", "tool:1"), ("tool:1",)):
            sides.high.good("load", carry(sides, up, *names), "--to", str(tmp_path / "disk"))
    (item,) = sides.high.good("prune", "--to", str(tmp_path / "disk"), "--remove", "--json").objects[-1]["items"]  # type: ignore[misc]
    assert (item["state"], item["name"]) == ("stays", f"{up}/web:1")
