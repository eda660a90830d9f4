"""Images with all that belongs to them, from list to registry: keys and signatures by the real cosign, and it judges.

Source and target are distribution v3, which has no referrers API, and our own `serve`, which has.
"""

import html
import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from images import Layout, push_by_skopeo
from programs import run
from registry import running_registry
from signing import SPDX, Cosign
from two_sides import Sides

from tidegate.oci import OCI_INDEX
from tidegate.registry.client import RegistryClient
from tidegate_receiver.serving.server import StageServer


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Cosign:
    return Cosign.make(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Cosign:
    return Cosign.make(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def source(release: Cosign, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``team/app:tagged`` (two platforms) with cosign's tags, ``team/app:bundled`` with referrers, and one on those."""
    folder = tmp_path_factory.mktemp("source")
    with running_registry(folder / "registry", v3=True) as host:
        layout = Layout(folder / "layout")
        amd, arm = layout.image([{"base": b"b" * 9000}, {"a": b"amd"}]), layout.image([{"base": b"b" * 9000}])
        index = layout.tag(layout.index({"linux/amd64": amd, "linux/arm64": arm}), "tagged")
        layout.tag(amd, "bundled")
        for tag in ("tagged", "bundled"):
            push_by_skopeo(layout.folder, tag, f"{host}/team/app:{tag}", every_platform=True)
        release.sign(f"{host}/team/app@{index.digest}")
        release.attest(f"{host}/team/app@{index.digest}")
        release.sign(f"{host}/team/app@{amd.digest}", bundle=True)
        release.attest(f"{host}/team/app@{amd.digest}", bundle=True)
        # A report about the SBOM attestation of the tag: what belongs to what belongs to the image.
        attestation = RegistryClient(host).manifest_digest("team/app", f"sha256-{index.digest[7:]}.att")
        (folder / "report.txt").write_text("reviewed")
        more = ("--artifact-type", "application/x-report", "--file", folder / "report.txt")
        run("regctl", "artifact", "put", *_plain(host), *more, "--subject", f"{host}/team/app@{attestation}")
        run("regctl", "artifact", "put", *_plain(host), *more, f"{host}/team/notes:v1")
        yield host


def _plain(host: str) -> tuple[str, str]:
    return ("--host", f"reg={host},tls=disabled")


def tree(image: str) -> set[tuple[str, str]]:
    """The artifact types that regctl, an independent client, finds below an image; with their digests."""
    said = run("regctl", "artifact", "tree", *_plain(image.partition("/")[0]), image)
    return set(re.findall(r"(sha256:[0-9a-f]{64}): (\S+)", said))


def write_list(sides: Sides, text: str) -> Path:
    path = sides.folder / "list.yaml"
    path.write_text(f"tidegate: 1\n{text}")
    return path


def carry(sides: Sides, path: Path) -> str:
    """Pack, send, receive; the bundle's name."""
    bundle = str(sides.low.good("pack", path, "--json").objects[-1]["bundle"])
    sides.send(bundle)
    sides.high.good("receive", sides.stick)
    return bundle


def expecting_all(sides: Sides, source: str, release: Cosign) -> Path:
    (sides.folder / "app.spdx.json").write_bytes(SPDX)
    return write_list(
        sides,
        f"""
keys: [{{path: {release.public}, name: release.pub}}]
images:
  - ref: {source}/team/app:tagged
    expect: {{signed-by: {release.public}, predicates: [spdxjson], sbom: true, identity: {source}/team/app}}
  - ref: {source}/team/app:bundled
    sbom: app.spdx.json
    expect: {{signed-by: [{release.public}], predicates: [spdxjson], types: application/spdx+json}}
  - {source}/team/notes:v1
""",
    )


@contextmanager
def serving(sides: Sides) -> Iterator[str]:
    """The stage of the high side, as `tidegate serve` gives it: with the referrers API."""
    with StageServer(sides.high.root / "stages" / "default", port=0) as server:
        yield server.address


def digests(source: str) -> tuple[str, str]:
    client = RegistryClient(source)
    tagged, bundled = (client.manifest("team/app", tag).digest for tag in ("tagged", "bundled"))
    return tagged, bundled


def check_with_cosign(release: Cosign, where: str, source: str) -> None:
    tagged, bundled = digests(source)
    for digest in (tagged, bundled):
        release.accepts(f"{where}/team/app@{digest}")
        release.accepts_attestation(f"{where}/team/app@{digest}")


def check_pasted_lines(release: Cosign, served: str) -> None:
    """What the page says to paste about what belongs to an image, pasted."""
    with urllib.request.urlopen(f"http://{served}/", timeout=30) as answer:
        page = html.unescape(answer.read().decode())
    lines = [line for line in page.splitlines() if line.startswith(("cosign ", "regctl "))]
    assert len(lines) == 2
    for line in lines:
        run(*line.replace("cosign.pub", str(release.public)).split())
    assert f"--stage --host {served} " in page


def test_everything_that_belongs_to_an_image_arrives_where_clients_look(
    sides: Sides, source: str, release: Cosign, tmp_path: Path
) -> None:
    bundle = carry(sides, expecting_all(sides, source, release))
    with running_registry(tmp_path / "target", v3=True) as target:
        sides.high.good("load", bundle, "--to", f"{target}/mirror")
        check_with_cosign(release, f"{target}/mirror", source)
        tagged, bundled = digests(source)
        # Of the image with referrers: signature and attestation as at the source, and the local SBOM in addition.
        before, after = tree(f"{source}/team/app:bundled"), tree(f"{target}/mirror/team/app:bundled")
        assert before < after
        assert {kind for _digest, kind in after - before} == {"application/spdx+json"}
        attestation = f"team/app:sha256-{tagged[7:]}.att"
        assert tree(f"{target}/mirror/{attestation}") == tree(f"{source}/{attestation}") != set()
        entries = [entry for entry in sides.high.entries() if "found by" in str(entry.get("detail"))]
        assert {str(entry["detail"]) for entry in entries} == {"found by tag", "found by fallback tag"}
        assert len(entries) == 6
        again = sides.high.good("load", bundle, "--to", f"{target}/mirror")
        assert "nothing to do" in again.out
    with serving(sides) as served:
        check_with_cosign(release, served, source)
        check_pasted_lines(release, served)
        assert tree(f"{served}/team/app:bundled") == after
        pages = RegistryClient(served).referrers("team/app", bundled)
        assert pages is not None
        assert len(json.loads(pages[0])["manifests"]) == 3


def test_a_served_stage_is_a_source_with_the_referrers_api(
    sides: Sides, source: str, release: Cosign, tmp_path: Path
) -> None:
    bundle = carry(sides, expecting_all(sides, source, release))
    sides.high.good("load", bundle)
    with serving(sides) as served:
        planned = sides.low.good("plan", f"{served}/team/app:bundled", "--json").objects[-1]
        kinds = [item["kind"] for item in planned["artifacts"]]  # type: ignore[attr-defined, index]
        assert sorted(kinds) == ["attachment", "attachment", "attachment", "image"]


def test_what_cosign_saved_to_a_folder_is_accepted_by_cosign_on_the_far_side(
    sides: Sides, source: str, release: Cosign, tmp_path: Path
) -> None:
    run("cosign", "save", "--allow-insecure-registry", "--dir", sides.folder / "saved", f"{source}/team/app:tagged")
    listed = write_list(
        sides,
        f"""layouts:
  - path: saved
    name: localhost/team/app:tagged
    expect: {{signed-by: {release.public}, predicates: [spdxjson]}}
""",
    )
    bundle = carry(sides, listed)
    with running_registry(tmp_path / "target", v3=True) as target:
        sides.high.good("load", bundle, "--to", target)
        tagged, _bundled = digests(source)
        release.accepts(f"{target}/team/app@{tagged}")
        release.accepts_attestation(f"{target}/team/app@{tagged}")


def test_verdicts_of_both_sides_are_in_their_ledgers(sides: Sides, source: str, release: Cosign) -> None:
    bundle = carry(sides, expecting_all(sides, source, release))
    sides.high.good("load", bundle)
    (collected,) = [entry for entry in sides.low.entries() if entry["event"] == "collect"]
    (verified,) = [entry for entry in sides.high.entries() if entry["event"] == "provenance"]
    assert sorted(collected["provenance"], key=str) == sorted(verified["provenance"], key=str)
    assert [item["verdict"] for item in verified["provenance"]] == [
        "signed by cosign; attested: https://spdx.dev/Document"
    ] * 2


def test_an_image_without_the_signature_that_is_expected_is_not_packed(
    sides: Sides, source: str, stranger: Cosign
) -> None:
    path = write_list(
        sides, f"images:\n  - ref: {source}/team/app:tagged\n    expect: {{signed-by: {stranger.public}}}\n"
    )
    said = sides.low.fails(47, "pack", path)
    assert "no signature by cosign holds; there is one by another key" in said.err
    assert [(entry["event"], entry["outcome"]) for entry in sides.low.entries()][-1] == ("collect", "failed")


def test_a_signature_that_was_copied_from_another_image_is_refused(sides: Sides, source: str, release: Cosign) -> None:
    tagged, bundled = digests(source)
    run("crane", "copy", f"{source}/team/app:bundled", f"{source}/team/forged:1")
    signature = f"{source}/team/app:sha256-{tagged[7:]}.sig"
    run("crane", "copy", signature, f"{source}/team/forged:sha256-{bundled[7:]}.sig")
    path = write_list(sides, f"images:\n  - ref: {source}/team/forged:1\n    expect: {{signed-by: {release.public}}}\n")
    said = sides.low.fails(47, "pack", path)
    assert tagged in said.err  # what it does sign


def test_a_signature_with_a_wrong_identity_is_refused(sides: Sides, source: str, release: Cosign) -> None:
    expect = f"{{signed-by: {release.public}, identity: registry.example/team/app}}"
    path = write_list(sides, f"images:\n  - ref: {source}/team/app:tagged\n    expect: {expect}\n")
    said = sides.low.fails(47, "pack", path)
    assert f"{source}/team/app" in said.err.partition("team/app:tagged: ")[2]


def test_a_site_believes_its_own_keys_and_no_carried_one(
    sides: Sides, source: str, release: Cosign, stranger: Cosign
) -> None:
    bundle = carry(sides, expecting_all(sides, source, release))
    settings = sides.high.root / "tidegate.toml"
    before = settings.read_text()
    settings.write_text(f'provenance_keys = ["{stranger.public}"]\n{before}')
    said = sides.high.fails(47, "load", bundle)
    assert "that is no key of this site" in said.err
    refused = sides.high.entries()[-1]
    assert (refused["event"], refused["reason"]) == ("load-failed", "provenance")
    assert all(item["verdict"].startswith("refused: ") for item in refused["provenance"])
    settings.write_text(f'provenance_keys = ["{release.public}"]\n{before}')
    sides.high.good("load", bundle)


def test_a_list_without_expectations_is_held_against_the_keys_of_the_site(
    sides: Sides, source: str, stranger: Cosign
) -> None:
    bundle = carry(sides, write_list(sides, f"images: [{source}/team/app:tagged]\n"))
    settings = sides.high.root / "tidegate.toml"
    settings.write_text(f'provenance_keys = ["{stranger.public}"]\n{settings.read_text()}')
    sides.high.good("load", bundle)
    (verified,) = [entry for entry in sides.high.entries() if entry["event"] == "provenance"]
    assert [item["verdict"] for item in verified["provenance"]] == ["signed, by no key known here"]


def test_a_public_key_is_carried_as_content(sides: Sides, release: Cosign, tmp_path: Path) -> None:
    bundle = carry(sides, write_list(sides, f"keys: [{{path: {release.public}, name: release.pub}}]\n"))
    sides.high.good("load", bundle, "--to", f"{tmp_path}/in")
    assert (tmp_path / "in" / "release.pub").read_bytes() == release.public.read_bytes()
    said = sides.low.run("pack", write_list(sides, f"keys: [{release.folder / 'cosign.key'}]\n"))
    assert said.code == 83, said


def test_an_image_may_come_without_what_belongs_to_it(sides: Sides, source: str) -> None:
    path = write_list(sides, f"images:\n  - ref: {source}/team/app:tagged\n    attachments: false\n")
    assert len(sides.low.good("plan", path, "--json").objects[-1]["artifacts"]) == 1  # type: ignore[arg-type]


def test_tags_that_fit_a_pattern_come_and_signatures_are_no_tags(sides: Sides, source: str) -> None:
    path = write_list(sides, f'images:\n  - ref: {source}/team/app\n    tags: ["*", "!bun*"]\n    attachments: false\n')
    planned = sides.low.good("plan", path, "--json").objects[-1]
    assert [item["name"] for item in planned["artifacts"]] == [f"{source}/team/app:tagged"]  # type: ignore[attr-defined, index]
    none = write_list(sides, f'images:\n  - ref: {source}/team/app\n    tags: ["9.*"]\n')
    assert "none of its" in sides.low.fails(10, "plan", none).err


def test_signatures_of_the_site_itself_stay_beside_those_that_are_loaded(
    sides: Sides, source: str, release: Cosign, stranger: Cosign, tmp_path: Path
) -> None:
    bundle = carry(sides, write_list(sides, f"images: [{source}/team/app:tagged]\n"))
    tagged, _ = digests(source)
    with running_registry(tmp_path / "target") as target:
        image = f"{target}/team/app@{tagged}"
        run("crane", "copy", f"{source}/team/app:tagged", f"{target}/team/app:tagged")
        stranger.sign(image)
        said = sides.high.good("load", bundle, "--to", target)
        assert "holds other signatures too, which stay" in said.err
        stranger.accepts(image)
        release.accepts(image)
        again = sides.high.good("load", bundle, "--to", target)
        assert "nothing to do" in again.out


def test_referrers_that_others_listed_under_the_fallback_tag_stay(
    sides: Sides, source: str, release: Cosign, stranger: Cosign, tmp_path: Path
) -> None:
    bundle = carry(sides, write_list(sides, f"images: [{source}/team/app:bundled]\n"))
    _, bundled = digests(source)
    with running_registry(tmp_path / "target", v3=True) as target:
        run("crane", "copy", f"{source}/team/app:bundled", f"{target}/team/app:bundled")
        stranger.sign(f"{target}/team/app@{bundled}", bundle=True)
        sides.high.good("load", bundle, "--to", target)
        listed = RegistryClient(target).manifest("team/app", f"sha256-{bundled[7:]}")
        assert listed.media_type == OCI_INDEX
        assert len(json.loads(listed.data)["manifests"]) == 3
        for key in (stranger, release):
            key.accepts(f"{target}/team/app@{bundled}")
