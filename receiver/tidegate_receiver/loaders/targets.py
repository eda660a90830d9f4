"""What ``load --to`` means: a folder, a registry, a chart repository, or a tar."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from tidegate.errors import UsageError
from tidegate.registry.reference import is_host, is_repository, without_scheme
from tidegate.registry.registries import Registries
from tidegate_receiver.loaders.directory import DirectoryLoader
from tidegate_receiver.loaders.items import BlobSource, Loader
from tidegate_receiver.loaders.registry import Holders, RegistryLoader

_PATH_STARTS = (".", "/", "~")
_HOST = re.compile(r"(?:[a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")


def is_folder(target: str) -> bool:
    """Whether `target` is a path, by how it is written or because a folder of that name is there."""
    return target.startswith(_PATH_STARTS) or (target != "" and Path(target).is_dir())


def open_loader(
    target: str, source: BlobSource, registries: Registries | None = None, holders: Holders = dict
) -> Loader:
    """The loader for `target`. Nothing is opened or asked yet. Raises UsageError for what is neither.

    `holders` says which repositories of this site have a blob, so that a registry can be asked to mount it.
    """
    found = _said(target, source, registries or Registries())
    if found is not None:
        return found
    if is_folder(target):
        if Path(target).expanduser().is_file():
            raise UsageError(f"--to {target}: is a file, and not a folder")
        return DirectoryLoader(source, Path(target).expanduser().absolute())
    host, _, prefix = target.partition("/")
    if _HOST.fullmatch(host) and is_host(host) and (not prefix or is_repository(prefix)):
        client = (registries or Registries()).target(host)
        return RegistryLoader(source, host, client=client, prefix=prefix, holders=holders)
    if rest := without_scheme(target):
        raise UsageError(f"--to {target}: an address and no registry", hint=f"write it as {rest}")
    raise UsageError(
        f"--to {target}: neither a folder nor a registry",
        hint="write a folder as ./NAME or /PATH, a registry as HOST[:PORT] or HOST[:PORT]/PROJECT; others begin with "
        "chartmuseum+https://, put+https://, tar: or imgpkg:",
    )


def _said(target: str, source: BlobSource, registries: Registries) -> Loader | None:
    """The loader of a target that begins with what it is; None for any other."""
    from tidegate_receiver.loaders.chart_repository import ChartRepositoryLoader, Style
    from tidegate_receiver.loaders.image_tar import ImageTarLoader, TarKind

    for style in Style:
        url = target.removeprefix(f"{style}+")
        if url != target:
            return ChartRepositoryLoader(source, style, url, client=registries.target(_host_of(url, target)))
    for kind in TarKind:
        path = target.removeprefix(f"{kind}:")
        # A registry may be called "tar:5000".
        if path != target and not path.isdecimal():
            return ImageTarLoader(source, kind, Path(path).expanduser().absolute())
    return None


def _host_of(url: str, target: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or parts.query or parts.fragment or not _HOST.fullmatch(parts.netloc):
        raise UsageError(
            f"--to {target.partition('://')[0]}: no address of a repository",
            hint="write it like chartmuseum+https://charts.example; credentials belong into the login of the host",
        )
    return parts.netloc
