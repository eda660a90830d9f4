"""One bundle, one command, every target that its list asks for: names by rule, projects, resumption."""

import json
import tarfile
from pathlib import Path

import pytest
from content import add_image, tar_of
from harbor import running_harbor
from registry import PASSWORD, USER, running_registry
from two_sides import Sides

from tidegate.depot.store import Depot
from tidegate.registry.client import RegistryClient
from tidegate.state.jobs import find_job
from tidegate.state.placements import list_placements
from tidegate_receiver.loaders.items import LoadItem
from tidegate_receiver.loaders.registry import RegistryLoader


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    return Sides.make(tmp_path / "sides")


def settings(sides: Sides, text: str) -> None:
    path = sides.high.root / "tidegate.toml"
    path.write_text(path.read_text() + text)


def fill(host: str, folder: Path, *names: str) -> None:
    """An image of its own under each name."""
    source = Depot(folder / "source")
    for name in names:
        root = add_image(source, [tar_of({"name": name.encode()})])
        RegistryLoader(source, host).load(LoadItem(f"{host}/{name}", "image", name, root))


def carry(sides: Sides, text: str) -> str:
    path = sides.folder / "list.yaml"
    path.write_text(f"tidegate: 1\n{text}")
    bundle = str(sides.low.good("pack", path, "--json").objects[-1]["bundle"])
    sides.send(bundle)
    sides.high.good("receive", sides.stick)
    return bundle


def test_one_command_loads_to_every_target_that_the_list_asks_for(sides: Sides, tmp_path: Path) -> None:
    docs = sides.make_files(count=1, size=100)
    with running_registry(tmp_path / "up") as up, running_registry(tmp_path / "one") as one:
        fill(up, tmp_path, "library/web:1", "tools/tool:2", "other/three:3")
        settings(
            sides,
            f'[targets.one]\nto = "{one}/in"\n[targets.one.rewrite]\n"{up}/library/" = "mirror/library/"\n'
            f'[targets.saved]\nto = "tar:{tmp_path}/images.tar"\n[targets.disk]\nto = "{tmp_path}/disk"\n',
        )
        bundle = carry(
            sides,
            f"""images:
  - {{ref: "{up}/library/web:1", load: [one, saved]}}
  - {{ref: "{up}/tools/tool:2", load: [one, elsewhere]}}
  - "{up}/other/three:3"
files: [{{path: {docs}, load: [disk]}}]
""",
        )
        answer = sides.high.good("load", bundle, "--asked", "--json")
        client = RegistryClient(one)
        assert client.manifest_digest("in/mirror/library/web", "1")
        assert client.manifest_digest("in/tools/tool", "2")
        assert client.manifest_digest("in/other/three", "3") is None
        again = sides.high.good("load", bundle, "--asked", "--json").objects[-1]
    done = answer.objects[-1]
    targets = {found["target"] for found in done["targets"]}  # type: ignore[attr-defined]
    assert targets == {str(tmp_path / "disk"), f"{one}/in", f"tar:{tmp_path}/images.tar"}
    assert done["unknown_targets"] == ["elsewhere"]
    assert "elsewhere" in answer.err
    assert (tmp_path / "disk" / "docs" / "file-0.bin").is_file()
    with tarfile.open(tmp_path / "images.tar") as tar:
        (entry,) = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert entry["RepoTags"] == [f"{up}/library/web:1"]
    assert set(sides.high.stage()) == {"library/web:1", "tools/tool:2", "other/three:3", "files/docs:latest"}
    assert not any(item["changed"] for item in again["items"])  # type: ignore[union-attr]
    with sides.high.workspace() as workspace, workspace.state.reading() as tx:
        there = {item.name: item.place for item in list_placements(tx, f"{one}/in")}
    assert there == {
        f"{up}/library/web:1": f"{one}/in/mirror/library/web:1",
        f"{up}/tools/tool:2": f"{one}/in/tools/tool:2",
    }
    sides.high.check()


def test_a_target_that_nobody_reaches_does_not_stop_the_others_and_is_gone_on_with(
    sides: Sides, tmp_path: Path
) -> None:
    with running_registry(tmp_path / "up") as up, running_registry(tmp_path / "one") as one:
        fill(up, tmp_path, "web:1")
        with running_registry(tmp_path / "two") as two:
            pass
        settings(
            sides,
            f'[targets.one]\nto = "{one}"\n[targets.two]\nto = "{two}"\n',
        )
        bundle = carry(sides, f'images: [{{ref: "{up}/web:1", load: [two, one]}}]\n')
        answer = sides.high.fails(3, "load", bundle, "--asked")
        assert RegistryClient(one).manifest_digest("web", "1")
        assert two in answer.err
        with running_registry(tmp_path / "two", port=int(two.rpartition(":")[2])):
            sides.high.good("load", bundle, "--asked")
            assert RegistryClient(two).manifest_digest("web", "1")
    assert len([event for event in sides.high.events() if event.startswith("load-failed")]) == 1


def test_what_is_loaded_by_itself_goes_to_all_targets_where_the_settings_say_so(sides: Sides, tmp_path: Path) -> None:
    with running_registry(tmp_path / "up") as up, running_registry(tmp_path / "one") as one:
        fill(up, tmp_path, "web:1")
        path = sides.high.root / "tidegate.toml"
        more = f'[channels.plant]\nrelease = "automatic"\n[targets.one]\nto = "{one}"\n'
        path.write_text("load_asked = true\n" + path.read_text() + more)
        carry(sides, f'images: [{{ref: "{up}/web:1", load: [one]}}]\n')
        assert RegistryClient(one).manifest_digest("web", "1")


def test_two_artifacts_that_the_rules_would_put_to_one_place_are_refused(sides: Sides, tmp_path: Path) -> None:
    with running_registry(tmp_path / "up") as up, running_registry(tmp_path / "one") as one:
        fill(up, tmp_path, "a/web:1", "b/web:1", "c/web:1")
        rules = f'"{up}/a/" = "m/"\n"{up}/b/" = "m/"\n"{up}/c/" = "m/"\n'
        settings(sides, f'[targets.one]\nto = "{one}"\n[targets.one.rewrite]\n{rules}')
        both = f'{{ref: "{up}/a/web:1", load: [one]}}, {{ref: "{up}/b/web:1", load: [one]}}'
        bundle = carry(sides, f"images: [{both}]\n")
        answer = sides.high.fails(53, "load", bundle, "--asked")
        assert "would be m/web:1" in answer.err
        assert RegistryClient(one).manifest_digest("m/web", "1") is None
        # Neither in one bundle nor in two.
        first = carry(sides, f'images: [{{ref: "{up}/a/web:1", load: [one]}}]\n')
        sides.high.good("load", first, "--asked")
        second = carry(sides, f'images: [{{ref: "{up}/c/web:1", load: [one]}}]\n')
        sides.high.fails(53, "load", second, "--asked")


def test_projects_of_harbor_are_created_where_they_are_missing(sides: Sides, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(PASSWORD)
    with (
        running_registry(tmp_path / "up") as up,
        running_registry(tmp_path / "one") as behind,
        running_harbor(behind) as harbor,
    ):
        fill(up, tmp_path, "team/web:1", "tools/tool:2")
        harbor.projects["tools"] = True
        login = f'[registries."{harbor.host}"]\nuser = "{USER}"\npassword_file = "{secret}"\n'
        settings(sides, f'{login}[targets.harbor]\nto = "{harbor.host}"\nprojects = "harbor"\n')
        listed = ", ".join(f'{{ref: "{up}/{name}", load: [harbor]}}' for name in ("team/web:1", "tools/tool:2"))
        bundle = carry(sides, f"images: [{listed}]\n")
        harbor.may_create = False
        answer = sides.high.fails(12, "load", bundle, "--asked")
        assert 'create project "team" by hand' in answer.err
        assert PASSWORD not in answer.err
        harbor.may_create = True
        sides.high.good("load", bundle, "--to", "harbor")
        assert harbor.projects == {"tools": True, "team": False}
        assert RegistryClient(behind).manifest_digest("team/web", "1")
        harbor.asked.clear()
        sides.high.good("load", bundle, "--to", "harbor")
        assert harbor.asked == ["HEAD team", "HEAD tools"]
    created = [entry for entry in sides.high.entries() if str(entry.get("detail", "")).startswith("created project")]
    assert [entry["detail"] for entry in created] == ["created project team"]


def test_each_target_is_gone_on_with_behind_the_items_that_it_has(sides: Sides, tmp_path: Path) -> None:
    with (
        running_registry(tmp_path / "up") as up,
        running_registry(tmp_path / "one") as behind,
        running_registry(tmp_path / "two") as two,
        running_harbor(behind) as harbor,
    ):
        fill(up, tmp_path, "a/web:1", "b/tool:2")
        harbor.projects["a"] = True
        settings(sides, f'[targets.harbor]\nto = "{harbor.host}"\n[targets.two]\nto = "{two}"\n')
        listed = ", ".join(f'{{ref: "{up}/{name}", load: [harbor, two]}}' for name in ("a/web:1", "b/tool:2"))
        bundle = carry(sides, f"images: [{listed}]\n")
        sides.high.fails(3, "load", bundle, "--asked")  # Harbor has no project b, and is not to create any
        with sides.high.workspace() as workspace, workspace.state.reading() as tx:
            (row,) = sides.high.rows()
            job = find_job(tx, "load", f"{row.bundle_id} {harbor.host}")
        assert job is not None
        assert [item["name"] for item in job.cursor["done"]] == [f"{up}/a/web:1"]
        harbor.projects["b"] = False
        done = sides.high.good("load", bundle, "--asked", "--json").objects[-1]
        assert {found["target"]: found["items"] for found in done["targets"]} == {harbor.host: 2, two: 2}  # type: ignore[attr-defined]
        with sides.high.workspace() as workspace, workspace.state.reading() as tx:
            assert find_job(tx, "load", f"{row.bundle_id} {harbor.host}") is None
        assert RegistryClient(behind).manifest_digest("b/tool", "2")


def test_a_dry_run_says_what_a_registry_has_already(sides: Sides, tmp_path: Path) -> None:
    with running_registry(tmp_path / "up") as up, running_registry(tmp_path / "one") as one:
        fill(up, tmp_path, "team/web:1")
        fill(up, tmp_path, "team/tool:1")
        fill(one, tmp_path, "in/team/tool:1")  # by somebody else, another image
        bundle = carry(sides, f'images: ["{up}/team/web:1", "{up}/team/tool:1"]\n')
        source = Depot(tmp_path / "source")
        same = add_image(source, [tar_of({"name": b"team/web:1"})])
        RegistryLoader(source, one).load(LoadItem("web", "image", "in/team/web:1", same))
        words = ("load", bundle, "--to", f"{one}/in")
        found = sides.high.good(*words, "--dry-run", "--json").objects[-1]
        assert [(item["place"], item["changed"]) for item in found["items"]] == [  # type: ignore[attr-defined]
            (f"{one}/in/team/tool:1", True),
            (f"{one}/in/team/web:1", False),
        ]
        assert "1 artifact (1 there already)" in sides.high.good(*words, "--dry-run").out
        assert "1 artifact (1 there already)" in sides.high.good(*words).out
        for more in ((), ("--dry-run",)):
            assert "nothing to do" in sides.high.good(*words, *more).out
    sides.high.fails(11, *words, "--dry-run")
