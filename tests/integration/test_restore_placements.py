"""What stands where is known again after a restore: reports of names and prune go on as before."""

from dataclasses import replace
from pathlib import Path

import pytest
from content import add_image, tar_of
from registry import running_registry
from two_sides import Sides

from tidegate.depot.store import Depot
from tidegate.state.placements import Placement, list_placements, list_targets
from tidegate_receiver.loaders.items import LoadItem
from tidegate_receiver.loaders.registry import RegistryLoader


def fill(host: str, folder: Path, *names: str) -> None:
    source = Depot(folder / "source")
    for name in names:
        root = add_image(source, [tar_of({"content": name.encode()})])
        RegistryLoader(source, host).load(LoadItem(f"{host}/{name}", "image", name, root))


def carry(sides: Sides, *entries: str) -> str:
    path = sides.folder / "list.yaml"
    path.write_text("tidegate: 1\n" + "".join(f"{entry}\n" for entry in entries))
    bundle = str(sides.low.good("pack", path, "--json").objects[-1]["bundle"])
    sides.send(bundle)
    sides.high.good("receive", sides.stick)
    return bundle


def placements(sides: Sides) -> list[Placement]:
    with sides.high.workspace() as workspace, workspace.state.reading() as tx:
        return [replace(row, loaded=0) for target in list_targets(tx) for row in list_placements(tx, target)]


def lose_state(sides: Sides) -> None:
    for path in sides.high.root.glob("state.db*"):
        path.unlink()
    sides.high.good("restore", "--reason", "the disk died")


@pytest.mark.parametrize("by_papers", [True, False])
def test_a_restore_knows_again_what_stands_where(sides: Sides, tmp_path: Path, by_papers: bool) -> None:
    with running_registry(tmp_path / "up") as up, running_registry(tmp_path / "one") as one:
        fill(up, tmp_path, "a/web:1", "a/web:2", "b/tool:1")
        path = sides.high.root / "tidegate.toml"
        path.write_text(path.read_text() + f'[targets.one]\nto = "{one}/in"\n[targets.one.rewrite]\n"{up}/a/" = "m/"\n')
        docs = sides.make_files(count=1, size=10)
        images = f'images: ["{up}/a/web:1", "{up}/a/web:2", "{up}/b/tool:1"]'
        everywhere = ("--to", f"{one}/in", "--to", str(tmp_path / "disk"), "--to", f"tar:{tmp_path}/images.tar")
        sides.high.good("load", carry(sides, images, f"files: [{docs}]"), *everywhere)
        second = carry(sides, f'images: ["{up}/a/web:2"]', f"files: [{docs}]")
        sides.high.good("load", second, "--to", f"{one}/in")
        sides.high.good("prune", "--remove")  # from the stage
        before = placements(sides)
        assert len({row.target for row in before}) == 4
        reports = [("--to", "one", "--format", kind) for kind in ("csv", "idms", "kbld")]
        said = [sides.high.good("names", *words).out for words in reports]
        if not by_papers:
            for folder in (sides.high.root / "quarantine").iterdir():
                for file in folder.iterdir():
                    if file.is_file():
                        file.unlink()
        lose_state(sides)
        if not by_papers:
            bare = [replace(row, kind="", expect="") for row in before]
            assert [replace(row, kind="", expect="") for row in placements(sides)] == bare
            return
        assert placements(sides) == before
        assert [sides.high.good("names", *words).out for words in reports] == said
        found = sides.high.good("prune", "--to", "one", "--json").objects[-1]["items"]
        assert sorted(str(item["name"]).partition("/")[2] for item in found) == ["a/web:1", "b/tool:1"]  # type: ignore[attr-defined]
        sides.high.good("ledger", "verify")
        lose_state(sides)
        assert placements(sides) == before


def test_what_a_load_that_failed_had_brought_and_what_came_directly_is_known_again(
    sides: Sides, tmp_path: Path
) -> None:
    with running_registry(tmp_path / "up") as up, running_registry(tmp_path / "one") as one:
        fill(up, tmp_path, "a/web:1")
        listed = tmp_path / "direct.yaml"
        listed.write_text(f'tidegate: 1\nimages: ["{up}/a/web:1"]\n')
        sides.high.good("load", "--direct", listed, "--to", f"{one}/in")
        before = placements(sides)
        lose_state(sides)
        assert [(row.target, row.channel_id, row.place) for row in before] == [
            (f"{one}/in", "direct", f"{one}/in/a/web:1")
        ]
        assert placements(sides) == [replace(row, kind="") for row in before]
        sides.high.good("load", "--direct", listed, "--to", f"{one}/in")
        assert placements(sides) == before
