"""Collect and load in one place: from registry to registry, verified and recorded as over the gap, without a medium."""

from pathlib import Path

import pytest
import yaml
from content import add_image, tar_of
from images import Layout, push_by_skopeo
from registry import running_registry
from signing import Cosign
from two_sides import Sides

from tidegate import clock
from tidegate.depot.store import Depot
from tidegate.registry.client import RegistryClient
from tidegate_receiver.loaders.items import LoadItem
from tidegate_receiver.loaders.registry import RegistryLoader


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Cosign:
    return Cosign.make(tmp_path_factory.mktemp("release"))


def fill(host: str, folder: Path, name: str) -> None:
    source = Depot(folder / "source")
    root = add_image(source, [tar_of({"name": name.encode()})])
    RegistryLoader(source, host).load(LoadItem(f"{host}/{name}", "image", name, root))


def test_a_list_goes_from_registry_to_registry_and_a_second_time_nothing_does(sides: Sides, tmp_path: Path) -> None:
    with running_registry(tmp_path / "up") as up, running_registry(tmp_path / "one") as one:
        fill(up, tmp_path, "team/web:1")
        listed = tmp_path / "list.yaml"
        listed.write_text(
            f'tidegate: 1\nimages: [{{ref: "{up}/team/web:1", load: [one]}}]\nfiles: [{sides.make_files()}]\n'
        )
        path = sides.high.root / "tidegate.toml"
        rules = f'[targets.one.rewrite]\n"{up}/" = "mirror/"\n'
        path.write_text(
            path.read_text() + f'[targets.one]\nto = "{one}"\n{rules}[targets.disk]\nto = "{tmp_path}/in"\n'
        )
        sides.high.events()
        report = f"csv:{tmp_path}/names.csv"
        sides.high.good("load", "--direct", listed, "--asked", "--report", report)
        assert RegistryClient(one).manifest_digest("mirror/team/web", "1")
        assert (tmp_path / "names.csv").read_text().count(f"{one}/mirror/team/web:1") == 1
        assert sides.high.events() == ["collect done", "load begun", "load done"]
        again = sides.high.good("load", "--direct", listed, "--asked", "--json").objects[-1]
        assert again["outcome"] == "nothing"
        sides.high.good("load", "--direct", listed, "--to", str(tmp_path / "in"))
        assert (tmp_path / "in" / "docs" / "file-0.bin").is_file()
        assert sides.high.stage() == {}
        sides.high.fails(2, "load", "--direct", listed)
    sides.high.check()


def test_what_is_not_signed_as_expected_is_not_loaded(sides: Sides, tmp_path: Path, release: Cosign) -> None:
    with running_registry(tmp_path / "up", v3=True) as up, running_registry(tmp_path / "one") as one:
        layout = Layout(tmp_path / "layout")
        for tag in ("signed", "bare"):
            image = layout.tag(layout.image([{tag: b"x" * 50}]), tag)
            push_by_skopeo(layout.folder, tag, f"{up}/app:{tag}")
            if tag == "signed":
                release.sign(f"{up}/app@{image.digest}")
        expect = f"expect: {{signed-by: [{release.public}]}}"
        listed = tmp_path / "list.yaml"
        listed.write_text(
            f'tidegate: 1\nimages:\n  - {{ref: "{up}/app:signed", {expect}}}\n  - {{ref: "{up}/app:bare", {expect}}}\n'
        )
        sides.high.events()
        answer = sides.high.fails(3, "load", "--direct", listed, "--to", one)
        assert "app:bare" in answer.err
        client = RegistryClient(one)
        assert client.manifest_digest("app", "bare") is None
        assert client.manifest_digest("app", "signed")
        assert "collect partial" in sides.high.events()
        release.accepts(f"{one}/app:signed")
        keys = sides.high.good("names", "--to", one, "--format", "policy-controller").out
        assert release.public.read_text().strip().splitlines()[1] in keys


def test_cleanup_lets_go_what_no_direct_load_asks_for_any_more(sides: Sides, tmp_path: Path) -> None:
    with running_registry(tmp_path / "up") as up, running_registry(tmp_path / "one") as one:
        fill(up, tmp_path, "team/web:1")
        fill(up, tmp_path, "team/tool:1")
        listed = tmp_path / "list.yaml"
        for name in ("web", "tool"):
            listed.write_text(f'tidegate: 1\nimages: ["{up}/team/{name}:1"]\n')
            sides.high.good("load", "--direct", listed, "--to", one)

        def cleanup(*words: str) -> dict[str, list[dict[str, object]]]:
            return sides.high.good("cleanup", "--json", *words).objects[-1]  # type: ignore[return-value]

        assert [item for item in cleanup("--remove")["goes"] if item["name"] == "direct"] == []
        month_ago = clock.now() - 100 * 86400
        with sides.high.workspace() as workspace, workspace.state.transaction() as tx:
            tx.execute("UPDATE placements SET loaded = ? WHERE name LIKE '%/tool:1'", (month_ago,))
        (goes,) = cleanup()["goes"]
        assert (goes["name"], goes["age_days"]) == ("direct", 100)
        depot = Depot(sides.high.root / "direct", create=False)
        assert len(depot.references()) == 2
        sides.high.events()
        cleanup("--remove")
        assert sides.high.events() == ["delete done/direct"]
        assert [name.rpartition("/")[2] for name in depot.references()] == ["web:1"]
        assert depot.garbage().blobs == ()
        assert not cleanup("--remove")["goes"]
        # What is gone is brought again, and what a blob was damaged by is said, not raised.
        listed.write_text(f'tidegate: 1\nimages: ["{up}/team/tool:1"]\n')
        assert sides.high.good("load", "--direct", listed, "--to", one, "--json").objects[-1]["outcome"] == "nothing"
        for digest in depot.digests():
            depot.blob_path(digest).write_bytes(b"{")
        assert cleanup("--remove")["goes"] == []
        (stays,) = [item for item in cleanup()["stays"] if item["name"] == "direct"]
        assert "may be removed" in str(stays["why"])


def test_kyverno_is_told_the_format_of_the_signatures(sides: Sides, tmp_path: Path, release: Cosign) -> None:
    with running_registry(tmp_path / "up", v3=True) as up, running_registry(tmp_path / "one") as one:
        layout = Layout(tmp_path / "layout")
        entries = []
        for name in ("tagged", "bundled"):
            image = layout.tag(layout.image([{name: b"x" * 50}]), name)
            push_by_skopeo(layout.folder, name, f"{up}/{name}:1")
            release.sign(f"{up}/{name}@{image.digest}", bundle=name == "bundled")
            entries.append(f'  - {{ref: "{up}/{name}:1", expect: {{signed-by: [{release.public}]}}}}\n')
        listed = tmp_path / "list.yaml"
        listed.write_text(f"tidegate: 1\nimages:\n{''.join(entries)}")
        sides.high.good("load", "--direct", listed, "--to", one)
        (policy,) = yaml.safe_load_all(sides.high.good("names", "--to", one, "--format", "kyverno").out)
        told = {
            verify["imageReferences"][0]: verify["type"]
            for rule in policy["spec"]["rules"]
            for verify in rule["verifyImages"]
        }
        assert told == {f"{one}/bundled:*": "SigstoreBundle", f"{one}/tagged:*": "Cosign"}
        answer = sides.high.good("names", "--to", one, "--format", "policy-controller")
        assert f"{one}/bundled:1: is signed in the bundle format alone" in answer.err
        assert "/tagged:1: is signed" not in answer.err
