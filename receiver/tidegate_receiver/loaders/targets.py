"""What ``load --to`` means: a folder, or a registry."""

import re
from pathlib import Path

from tidegate.errors import UsageError
from tidegate.registry.reference import is_host, is_repository
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
    if is_folder(target):
        if Path(target).expanduser().is_file():
            raise UsageError(f"--to {target}: is a file, and not a folder")
        return DirectoryLoader(source, Path(target).expanduser().absolute())
    host, _, prefix = target.partition("/")
    if _HOST.fullmatch(host) and is_host(host) and (not prefix or is_repository(prefix)):
        client = (registries or Registries()).target(host)
        return RegistryLoader(source, host, client=client, prefix=prefix, holders=holders)
    raise UsageError(
        f"--to {target}: neither a folder nor a registry",
        hint="write a folder as ./NAME or /PATH, and a registry as HOST[:PORT], or HOST[:PORT]/PROJECT",
    )
