"""Bring the images of a tar, and what belongs to them.

``docker save`` of any age, OCI layouts in a tar, ``imgpkg --to-tar``, and several in one.
What a tar is, its members say; compressed ones (gzip, zstd) are unpacked beside. A tar of tars is opened, one level
deep.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tidegate.errors import UsageError
from tidegate.provenance.attachments import ATTACHMENT
from tidegate.registry.reference import parse_reference, slug
from tidegate_sender.collect.archive_file import Archive, ArchiveError, Region, open_region, unpacked
from tidegate_sender.collect.archives.docker_archive import LIST_FILE, LIST_MAX_BYTES, ArchivedImage, bring_saved_images
from tidegate_sender.collect.archives.oci_archive import INDEX_FILE, bring_layout_images
from tidegate_sender.collect.images import attachment_name
from tidegate_sender.collect.kinds import Brought, Sink, SourceItem, Surroundings, brought

_INNER = (".tar", ".tar.gz", ".tgz", ".tar.zst")
_INNER_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class TarItem(SourceItem):
    """A tar of images at `path`; `name` is for one that holds a single image without a name of its own."""

    path: Path
    name: str = ""
    platforms: tuple[str, ...] = ()

    lock_kind = "tar"

    @property
    def label(self) -> str:
        return str(self.path)

    @property
    def lock_source(self) -> str:
        source = f"{self.given} as {self.name}" if self.name else self.given
        return f"{source} for {','.join(sorted(self.platforms))}" if self.platforms else source

    def bring(self, sink: Sink, around: Surroundings) -> tuple[Brought, ...]:
        with open_region(self.path) as region:
            found = list(self._archive(region, self.label, sink, around, is_inner=False))
        if not found:
            raise ArchiveError(f"{self.label}: holds no image")
        count = sum(one.kind != ATTACHMENT for one in found)
        if self.name and count > 1:
            raise ArchiveError(f"{self.label}: holds {count} images, and one name is given", hint="leave name out")
        return tuple({one.name: one for one in found}.values())

    def _archive(
        self, region: Region, what: str, sink: Sink, around: Surroundings, *, is_inner: bool
    ) -> Iterator[Brought]:
        with unpacked(region, what) as plain:
            archive = Archive(plain, what)
            if INDEX_FILE in archive.files and "oci-layout" in archive.files:
                yield from self._named(bring_layout_images(archive, self.platforms, sink, around), sink, what)
            elif LIST_FILE in archive.files:
                yield from self._listed(archive, sink, around)
            elif is_inner:
                raise ArchiveError(f"{what}: no images: neither {LIST_FILE} nor {INDEX_FILE} is in it")
            else:
                yield from self._inner(archive, sink, around)

    def _listed(self, archive: Archive, sink: Sink, around: Surroundings) -> Iterator[Brought]:
        """``manifest.json`` is docker's, or imgpkg's of the same name."""
        from tidegate_sender.collect.archives.imgpkg_tar import bring_imgpkg_tar, is_imgpkg_list

        data = archive.member(LIST_FILE).read(LIST_MAX_BYTES, archive.what)
        if is_imgpkg_list(data):
            yield from bring_imgpkg_tar(archive, data, sink, around)
        else:
            yield from self._named(bring_saved_images(archive, sink, around), sink, archive.what)

    def _inner(self, archive: Archive, sink: Sink, around: Surroundings) -> Iterator[Brought]:
        names = sorted(name for name in archive.files if name.endswith(_INNER))
        if not names:
            raise ArchiveError(f"{self.label}: no images: neither {LIST_FILE} nor {INDEX_FILE} nor a tar is in it")
        if len(names) > _INNER_MAX:
            raise ArchiveError(f"{self.label}: more than {_INNER_MAX} tars are in it")
        for name in names:
            yield from self._archive(archive.files[name], f"{self.label}: {name}", sink, around, is_inner=True)

    def _named(self, images: tuple[ArchivedImage, ...], sink: Sink, what: str) -> Iterator[Brought]:
        for image in images:
            for name in self._names(image, what, is_only=len(images) == 1):
                yield brought(name, "image", sink, image.root, image.notes)
                for one in image.attached:
                    attached = attachment_name(parse_reference(name), one.reference)
                    yield Brought(attached, ATTACHMENT, one.root, sum(blob.size for blob in one.blobs))

    def _names(self, image: ArchivedImage, what: str, *, is_only: bool) -> tuple[str, ...]:
        """As given, as the archive has them, or made of the file's name: by digest where that would not be unique."""
        if self.name:
            return (self.name,)
        if image.names:
            return tuple(_parsed(name, what) for name in image.names)
        short = slug(Path(what.rpartition(": ")[2]).name.partition(".tar")[0].removesuffix(".tgz"))
        if not short:
            raise ArchiveError(f"{what}: its image has no name", hint="give it one in a transfer list")
        return (f"localhost/{short}:latest" if is_only else f"localhost/{short}@{image.root.digest}",)


def _parsed(name: str, what: str) -> str:
    try:
        return parse_reference(name).name
    except UsageError as error:
        raise ArchiveError(f"{what}: {error.message}") from None
