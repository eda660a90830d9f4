"""Add a site to the settings of a low side's root, in the file that `init` wrote; every other line stays as it is."""

import json
import re

from tidegate.config import SETTINGS_FILE
from tidegate.errors import UsageError
from tidegate.files import host_error, write_durably
from tidegate.workspace import Workspace

_LINE = re.compile(r"^sites\s*=\s*\[[^\]\n]*\]", re.MULTILINE)


def add_site_to_settings(workspace: Workspace, site: str) -> None:
    """Raises UsageError where the line is not as `init` writes it, HostError where it cannot be written."""
    if site in workspace.settings.sites:
        return
    path = workspace.root / SETTINGS_FILE
    try:
        text = path.read_text(encoding="utf-8")
        line = f"sites = [{', '.join(json.dumps(item) for item in (*workspace.settings.sites, site))}]"
        changed, count = _LINE.subn(lambda _: line, text)
        if count != 1:
            raise UsageError(f'{path}: no line "sites = [...]" to add {site} to', hint=f"write it there: {line}")
        write_durably(path, changed.encode())
    except OSError as error:
        raise host_error(error, f"writing {path}") from None
