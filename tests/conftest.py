"""What every test shares: the support folder on the path, and a clean environment."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent / "support"))
pytest_plugins = ("shared_fixtures",)

# No test is timed: on a busy machine an example may wait for its turn.
settings.register_profile("tidegate", deadline=None)
settings.load_profile("tidegate")


_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No setting of the person who runs the tests reaches them."""
    for name in list(os.environ):
        # Commands keep what Python compiles, as installed ones do: compiling is a third of what each costs.
        if name.startswith("TIDEGATE_") or name in {"SOURCE_DATE_EPOCH", "PYTHONDONTWRITEBYTECODE"}:
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    # Credentials, mirrors and proxies of other tools.
    monkeypatch.setenv("DOCKER_CONFIG", str(home / "docker"))
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(home / "registries.conf"))
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", *_PROXIES, *map(str.upper, _PROXIES)):
        monkeypatch.delenv(name, raising=False)
