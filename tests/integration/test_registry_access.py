"""Registries behind TLS, passwords and tokens, by the installed command: what is let in, what is not, what is said."""

import base64
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Authority
from images import Layout, skopeo
from registry import PASSWORD, USER, Guard, running_registry
from two_sides import Sides

ENCODED = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module", params=["docker-registry", "distribution v3"])
def guarded(
    request: pytest.FixtureRequest, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A registry with TLS and Basic authentication that has ``team/app:1``."""
    folder = tmp_path_factory.mktemp("guarded")
    guard = Guard.basic(folder, authority.issue())
    with running_registry(folder / "registry", guard=guard, v3=request.param != "docker-registry") as host:
        layout = Layout(folder / "layout")
        layout.tag(layout.image([{"a": b"one"}]), "1")
        where = f"docker://{host}/team/app:1"
        skopeo(
            *("copy", "--dest-tls-verify=false", "--dest-creds", f"{USER}:{PASSWORD}", f"oci:{layout.folder}:1", where)
        )
        yield host


def configure(sides: Sides, host: str, *lines: str, side: str = "low") -> None:
    path = getattr(sides, side).root / "tidegate.toml"
    path.write_text(path.read_text() + f'\n[registries."{host}"]\n' + "\n".join(lines) + "\n")


def log_in(tmp_path: Path, host: str, auth: str = ENCODED) -> dict[str, str]:
    """As ``docker login`` leaves it."""
    folder = tmp_path / "docker"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return {"DOCKER_CONFIG": str(folder)}


def test_an_image_behind_tls_and_a_password_comes_with_dockers_own_login(
    sides: Sides, guarded: str, authority: Authority, tmp_path: Path
) -> None:
    configure(sides, guarded, f'ca = "{authority.ca}"')
    answer = sides.low.run("pack", f"{guarded}/team/app:1", **log_in(tmp_path, guarded))
    assert answer.code == 0, answer


def test_user_and_password_of_the_settings_come_before_a_login(
    sides: Sides, guarded: str, authority: Authority, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text(f"{PASSWORD}\n")
    configure(sides, guarded, f'ca = "{authority.ca}"', f'user = "{USER}"', f'password_file = "{password}"')
    wrong = log_in(tmp_path, guarded, base64.b64encode(b"ada:wrong-one").decode())
    assert sides.low.run("pack", f"{guarded}/team/app:1", **wrong).code == 0


def test_a_credential_helper_is_asked(sides: Sides, guarded: str, authority: Authority, tmp_path: Path) -> None:
    configure(sides, guarded, f'ca = "{authority.ca}"')
    program = tmp_path / "docker-credential-test"
    secret = json.dumps({"ServerURL": guarded, "Username": USER, "Secret": PASSWORD})
    program.write_text(f"#!/bin/sh\nread server\n[ \"$1 $server\" = 'get {guarded}' ] || exit 1\necho '{secret}'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    folder = tmp_path / "docker"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"credHelpers": {guarded: "test"}}))
    import os

    environment = {"DOCKER_CONFIG": str(folder), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    answer = sides.low.run("pack", f"{guarded}/team/app:1", **environment)
    assert answer.code == 0, answer


def test_an_unknown_certificate_is_refused_and_the_setting_is_named(sides: Sides, guarded: str, tmp_path: Path) -> None:
    configure(sides, guarded, "tls_verify = true", "plain_http = false", 'client_cert = ""', 'ca = "/dev/null"')
    said = sides.low.run("pack", f"{guarded}/team/app:1", **log_in(tmp_path, guarded))
    assert said.code in {2, 11}
    other = Authority.make(tmp_path / "other", "somebody else")
    text = (sides.low.root / "tidegate.toml").read_text().replace("/dev/null", str(other.ca))
    (sides.low.root / "tidegate.toml").write_text(text)
    said = sides.low.run("pack", f"{guarded}/team/app:1", **log_in(tmp_path, guarded))
    assert said.code == 11, said
    assert "TLS fails" in said.err
    assert "name its CA as `ca`" in said.err


def test_verification_is_off_only_for_the_registry_that_is_named(sides: Sides, guarded: str, tmp_path: Path) -> None:
    configure(sides, guarded, "tls_verify = false")
    assert sides.low.run("pack", f"{guarded}/team/app:1", **log_in(tmp_path, guarded)).code == 0


@pytest.mark.parametrize("auth", [ENCODED.replace("Z", "Y", 1), ""], ids=["wrong password", "no password"])
def test_a_registry_that_refuses_says_who_asked_and_no_secret_is_written_anywhere(
    sides: Sides, guarded: str, authority: Authority, tmp_path: Path, auth: str
) -> None:
    configure(sides, guarded, f'ca = "{authority.ca}"')
    wrong = base64.b64encode(b"ada:wrong-4712").decode() if auth else ""
    environment = log_in(tmp_path, guarded, wrong) if wrong else {}
    said = sides.low.run("pack", f"{guarded}/team/app:1", **environment)
    assert said.code == 12, said
    assert ("asked as ada" if wrong else "asked without credentials") in said.err
    assert "docker login" in said.err
    written = said.out + said.err + "".join(json.dumps(entry) for entry in sides.low.entries())
    for secret in ("wrong-4712", wrong or "wrong", PASSWORD, ENCODED):
        assert secret not in written


def test_a_bundle_is_loaded_into_a_registry_with_a_password_of_its_own(
    sides: Sides, guarded: str, authority: Authority, tmp_path: Path
) -> None:
    environment = log_in(tmp_path, guarded)
    configure(sides, guarded, f'ca = "{authority.ca}"')
    assert sides.low.run("pack", f"{guarded}/team/app:1", **environment).code == 0
    sides.send("1")
    sides.high.good("receive", sides.stick)
    password = tmp_path / "high-password"
    password.write_text(PASSWORD)
    target = f"{guarded}/mirror"
    said = sides.high.run("load", "1", "--to", target)
    assert said.code == 11, said  # neither certificate nor password is known on this side
    configure(
        sides, guarded, f'ca = "{authority.ca}"', f'user = "{USER}"', f'password_file = "{password}"', side="high"
    )
    said = sides.high.run("load", "1", "--to", target)
    assert said.code == 0, said
    again = sides.high.run("load", "1", "--to", target)
    assert "nothing to do" in again.out
    digest = skopeo(
        *("inspect", "--tls-verify=false", "--creds", f"{USER}:{PASSWORD}", "--format", "{{.Digest}}"),
        f"docker://{target}/team/app:1",
    )
    assert digest.startswith("sha256:")


# --- mirrors, and what a target has already ---------------------------------------------------


@pytest.fixture
def open_registry(tmp_path: Path) -> Iterator[str]:
    """A registry for everybody that has ``hub/team/app:1``."""
    with running_registry(tmp_path / "open") as host:
        layout = Layout(tmp_path / "open-layout")
        layout.tag(layout.image([{"base": b"b" * 200_000}, {"a": b"one"}]), "1")
        skopeo("copy", "--dest-tls-verify=false", f"oci:{layout.folder}:1", f"docker://{host}/hub/team/app:1")
        yield host


def test_a_mirror_of_the_settings_stands_in_for_a_registry_that_nobody_reaches(
    sides: Sides, open_registry: str
) -> None:
    configure(sides, "registry.invalid", f'mirrors = ["{open_registry}/hub"]')
    packed = sides.low.good("pack", "registry.invalid/team/app:1", "--json").objects[-1]
    assert packed["artifacts"] == 1


def test_a_mirror_of_a_registries_conf_is_asked_first_and_a_blocked_registry_never(
    sides: Sides, open_registry: str, tmp_path: Path
) -> None:
    path = tmp_path / "registries.conf"
    path.write_text(
        f'[[registry]]\nprefix = "registry.invalid/x"\nlocation = "registry.invalid/x"\n'
        f'[[registry.mirror]]\nlocation = "{open_registry}/hub"\n'
        f'[[registry]]\nlocation = "blocked.invalid"\nblocked = true\n'
    )
    environment = {"CONTAINERS_REGISTRIES_CONF": str(path)}
    assert sides.low.run("pack", "registry.invalid/x/team/app:1", **environment).code == 0
    said = sides.low.run("pack", "blocked.invalid/team/app:1", **environment)
    assert said.code == 11
    assert "registries.conf of this host blocks it" in said.err


def test_what_an_earlier_bundle_brought_to_another_repository_is_mounted_from_there(
    sides: Sides, open_registry: str, tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "second-layout")
    layout.tag(layout.image([{"base": b"b" * 200_000}, {"a": b"two"}]), "1")
    skopeo("copy", "--dest-tls-verify=false", f"oci:{layout.folder}:1", f"docker://{open_registry}/hub/other:1")
    for name in ("hub/team/app:1", "hub/other:1"):
        bundle = str(sides.low.good("pack", f"{open_registry}/{name}", "--json").objects[-1]["bundle"])
        sides.send(bundle)
        sides.high.good("receive", sides.stick)
        sides.high.good("load", bundle, "--to", f"{open_registry}/mirror")
    loaded = [entry for entry in sides.high.entries() if entry["event"] == "load" and entry.get("stored")]
    first, second = (int(entry["stored"]) for entry in loaded)
    assert second < first / 2  # the base was there, in the repository of the first
