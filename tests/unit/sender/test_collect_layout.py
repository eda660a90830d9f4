"""What belongs to an image of an OCI layout comes with it: by tag, subject, fallback tag, as `cosign save` has it."""

import json
from pathlib import Path
from typing import Any

import pytest
from images import INDEX, Blob, Layout

from tidegate.depot.store import Depot
from tidegate.errors import BlobMissingError, GraphError
from tidegate_sender.collect.items import LayoutItem
from tidegate_sender.collect.pipeline import collect
from tidegate_sender.collect.survey import survey


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


def image(layout: Layout, tag: str = "v1") -> Blob:
    return layout.tag(layout.image([{"a": tag.encode()}]), tag)


def artifact(layout: Layout, text: str, **more: Any) -> Blob:
    config = layout.blob(b"{}", "application/vnd.oci.empty.v1+json")
    return layout.manifest(config, [layout.blob(text.encode(), "text/plain")], artifactType="text/x-report", **more)


def entry(layout: Layout, blob: Blob, **annotations: str) -> Blob:
    """Into the index without a name."""
    layout.entries.append({**blob.descriptor, "annotations": annotations})
    (layout.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": layout.entries}))
    return blob


def come(layout: Layout, depot: Depot, **how: Any) -> list[tuple[str, str]]:
    """(digest, reference in the repository) of what comes; looked at first, with the same names."""
    item = LayoutItem(path=layout.folder, name="r.example/app:1", **how)
    report = collect([item], depot)
    assert not report.failures, report.failures[0].text
    planned = survey([item], None)
    assert [(one.name, one.kind) for one in planned.artifacts] == [(one.name, one.kind) for one in report.artifacts]
    assert [one.kind for one in report.artifacts] == ["image"] + ["attachment"] * (len(report.artifacts) - 1)
    for one in report.artifacts:
        depot.check_blob(one.descriptor.digest)
    return [(one.descriptor.digest, one.name.removeprefix("r.example/app")) for one in report.artifacts]


def test_what_is_attached_by_tag_or_subject_comes_to_any_depth(layout: Layout, depot: Depot) -> None:
    root = image(layout)
    signature = layout.tag(artifact(layout, "signature"), f"sha256-{root.digest[7:]}.sig")
    referrer = entry(layout, artifact(layout, "sbom", subject=root.descriptor))
    deeper = entry(layout, artifact(layout, "report", subject=referrer.descriptor))
    entry(layout, artifact(layout, "of another", subject=layout.image([{"b": b"2"}]).descriptor))
    expected = [
        (root.digest, ":1"),
        (signature.digest, f":sha256-{root.digest[7:]}.sig"),
        (referrer.digest, f"@{referrer.digest}"),
        (deeper.digest, f"@{deeper.digest}"),
    ]
    assert come(layout, depot, tag="v1") == expected
    assert come(layout, depot, tag="v1", attachments=False) == expected[:1]


def test_the_one_image_of_a_layout_is_found_among_what_belongs_to_it(layout: Layout, depot: Depot) -> None:
    root = image(layout)
    layout.tag(artifact(layout, "signature"), f"team/app:sha256-{root.digest[7:]}.sig")  # as a stage has it
    entry(layout, artifact(layout, "sbom", subject=root.descriptor))
    assert len(come(layout, depot)) == 3


def test_a_fallback_tag_lists_referrers_and_what_does_not_say_so_itself_is_left_out(
    layout: Layout, depot: Depot
) -> None:
    root = image(layout)
    true = artifact(layout, "sbom", subject=root.descriptor)
    children = [true.descriptor, artifact(layout, "stranger").descriptor]
    index = layout.json_blob({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}, INDEX)
    layout.tag(index, f"sha256-{root.digest[7:]}")
    assert come(layout, depot) == [(root.digest, ":1"), (true.digest, f"@{true.digest}")]


def test_what_cosign_saved_gets_the_tags_of_cosign(layout: Layout, depot: Depot) -> None:
    root = entry(layout, layout.image([{"a": b"1"}]), kind="dev.cosignproject.cosign/image")
    sig = entry(layout, artifact(layout, "signature"), kind="dev.cosignproject.cosign/sigs")
    att = entry(layout, artifact(layout, "attestation"), kind="dev.cosignproject.cosign/atts")
    stem = f":sha256-{root.digest[7:]}"
    assert come(layout, depot) == [(root.digest, ":1"), (sig.digest, f"{stem}.sig"), (att.digest, f"{stem}.att")]


def test_a_layout_whose_signature_is_not_whole_is_refused(layout: Layout, depot: Depot) -> None:
    root = image(layout)
    signature = layout.tag(artifact(layout, "signature"), f"sha256-{root.digest[7:]}.sig")
    layer = json.loads(layout.read(signature.digest))["layers"][0]["digest"]
    (layout.folder / "blobs" / "sha256" / layer[7:]).unlink()
    (failure,) = collect([LayoutItem(path=layout.folder, tag="v1")], depot).failures
    assert isinstance(failure.error, BlobMissingError)


def test_other_images_of_a_layout_that_are_not_whole_are_nobodys_concern(layout: Layout, depot: Depot) -> None:
    root = image(layout)
    other = image(layout, "other")
    (layout.folder / "blobs" / "sha256" / other.digest[7:]).unlink()
    assert come(layout, depot, tag="v1") == [(root.digest, ":1")]


def test_tags_that_lead_in_a_cycle_end(layout: Layout, depot: Depot) -> None:
    root = image(layout)
    other = layout.tag(artifact(layout, "signature"), f"sha256-{root.digest[7:]}.sig")
    layout.tag(root, f"sha256-{other.digest[7:]}.sig")
    layout.tag(other, f"sha256-{other.digest[7:]}.att")
    assert [digest for digest, _name in come(layout, depot, tag="v1")] == [
        root.digest,
        other.digest,
        root.digest,
        other.digest,
    ]


def test_a_chain_of_attachments_without_end_is_refused(layout: Layout, depot: Depot) -> None:
    last = image(layout)
    for number in range(9):
        last = entry(layout, artifact(layout, str(number), subject=last.descriptor))
    (failure,) = collect([LayoutItem(path=layout.folder, tag="v1")], depot).failures
    assert isinstance(failure.error, GraphError)
