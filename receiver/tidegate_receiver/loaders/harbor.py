"""Projects of a Harbor: the first component of a repository must be there before anything is pushed to it.

Harbor's API v2.0: ``HEAD /api/v2.0/projects?project_name=NAME`` says whether it is there, ``POST /api/v2.0/projects``
creates it. Written to its document; Harbor is not among the programs of our tests.
"""

import json
from collections.abc import Iterable
from urllib.parse import quote

from tidegate.errors import RegistryAuthError
from tidegate.registry.access import RegistryAccess
from tidegate.registry.reference import split_place
from tidegate.registry.transport import Transport
from tidegate_receiver.loaders.items import LoadItem

_API = "/api/v2.0/projects"


def projects_of(target: str, items: Iterable[LoadItem]) -> tuple[str, ...]:
    """The projects that `items` go to: that of the target where it names one, else the first part of each place."""
    _host, _, prefix = target.partition("/")
    if prefix:
        return (prefix.partition("/")[0],)
    return tuple(sorted({split_place(item.place)[0].partition("/")[0] for item in items}))


def create_projects(host: str, names: Iterable[str], access: RegistryAccess | None, *, public: bool) -> tuple[str, ...]:
    """Create those that are missing, and give their names. Raises RegistryError, RegistryAuthError."""
    transport = Transport(host, access=access)
    credential = access.credentials.find(host) if access is not None else None
    headers = {"Content-Type": "application/json"}
    if credential is not None and access is not None:
        # Harbor's API does not ask with a challenge as its registry does.
        access.secrets.add(credential.secret, credential.basic)
        headers["Authorization"] = f"Basic {credential.basic}"
    return tuple(name for name in names if _create(transport, name, headers, public=public))


def _create(transport: Transport, name: str, headers: dict[str, str], *, public: bool) -> bool:
    what = f"project {name}"
    path = f"{_API}?project_name={quote(name, safe='')}"
    found = transport.send("HEAD", path, what=what, expect=frozenset({200, 404}), headers=headers, finish=True)
    if found.status == 200:
        return False
    body = json.dumps({"project_name": name, "metadata": {"public": "true" if public else "false"}}).encode()
    expect = frozenset({201, 409})
    try:
        made = transport.send("POST", _API, what=what, expect=expect, headers=headers, body=body, finish=True)
    except RegistryAuthError as error:
        hint = f'create project "{name}" by hand, or give this robot account the system permission to create projects'
        raise RegistryAuthError(error.message, hint=hint) from None
    return made.status == 201
