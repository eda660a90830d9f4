"""What ``load --to`` means: a folder, or a registry."""

import re
from pathlib import Path

from tidegate.errors import UsageError
from tidegate.registry.registries import Registries
from tidegate_receiver.loaders.directory import DirectoryLoader
from tidegate_receiver.loaders.items import BlobSource, Loader
from tidegate_receiver.loaders.registry import RegistryLoader

_PATH_STARTS = (".", "/", "~")
_HOST = re.compile(r"(?:[a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")


def is_folder(target: str) -> bool:
    """Whether `target` is a path, by how it is written or because a folder of that name is there."""
    return target.startswith(_PATH_STARTS) or (target != "" and Path(target).is_dir())


def open_loader(target: str, source: BlobSource, registries: Registries | None = None) -> Loader:
    """The loader for `target`. Nothing is opened or asked yet. Raises UsageError for what is neither."""
    if is_folder(target):
        if Path(target).expanduser().is_file():
            raise UsageError(f"--to {target}: is a file, and not a folder")
        return DirectoryLoader(source, Path(target).expanduser().absolute())
    if _HOST.fullmatch(target) and ("." in target or ":" in target or target == "localhost"):
        return RegistryLoader(source, target, client=(registries or Registries()).target(target))
    raise UsageError(
        f"--to {target}: neither a folder nor a registry",
        hint="write a folder as ./NAME or /PATH, and a registry as HOST or HOST:PORT, without a repository",
    )
