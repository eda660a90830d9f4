"""Settings: which root, which value wins, and what is said of an unknown name."""

from dataclasses import fields
from pathlib import Path

import pytest

from tidegate.config import ChannelSettings, Release, Role, Settings, find_root, load_settings
from tidegate.errors import UsageError


def write(root: Path, text: str) -> Path:
    root.mkdir(exist_ok=True)
    (root / "tidegate.toml").write_text(text, encoding="utf-8")
    return root


def test_the_option_wins_over_the_environment_for_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_ROOT", str(tmp_path / "environment"))
    assert find_root(tmp_path / "option") == tmp_path / "option"
    assert find_root() == tmp_path / "environment"


def test_a_person_who_is_not_root_gets_a_root_under_their_own_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert find_root() == tmp_path / "tidegate"


def test_settings_of_the_root_are_read_and_their_origin_is_remembered(tmp_path: Path) -> None:
    root = write(tmp_path / "root", 'role = "high"\nsites = ["plant-7"]\n[channels.plant]\nrelease = "automatic"\n')
    settings = load_settings(root, named=True)
    assert settings.role is Role.HIGH
    assert settings.sites == ("plant-7",)
    assert settings.release_of("plant") is Release.AUTOMATIC
    assert settings.release_of("other") is Release.BY_HAND
    assert settings.origins["role"].endswith("tidegate.toml")


def test_the_environment_wins_over_the_root_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "root", "redundancy = 0.2\n")
    monkeypatch.setenv("TIDEGATE_REDUNDANCY", "0.3")
    settings = load_settings(root, named=True)
    assert settings.redundancy == 0.3
    assert settings.origins["redundancy"] == "environment"


def test_settings_of_the_person_are_left_out_where_a_root_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    write(tmp_path / "tidegate", "redundancy = 0.5\n")
    root = write(tmp_path / "root", "")
    assert load_settings(root, named=True).redundancy == 0.1
    assert load_settings(root, named=False).redundancy == 0.5


def test_an_unknown_setting_is_refused_with_the_name_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'redundancy'"):
        load_settings(write(tmp_path / "root", "redundency = 0.2\n"), named=True)


@pytest.mark.parametrize("text", ["role = 'middle'", "redundancy = 'much'", "role = ", "[channels]\nplant = 3"])
def test_a_value_that_cannot_be_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError):
        load_settings(write(tmp_path / "root", text), named=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("redundancy = 'x'", 'redundancy: is "x", not a number from 0 to 4'),
        ("redundancy = 5", "redundancy: is 5, not a number from 0 to 4"),
        ("expire_days = -4", "expire_days: is -4, not a whole number of days"),
        ("stage = 'A B'", 'stage: is "A B", not a name'),
        ("media_folders = '/media'", "not a list of folders"),
        ("[channels.plant]\nrelease = 'auto'", 'channels.plant.release: is "auto", not "by-hand" or "automatic"'),
        ("[channels.plant]\nrelase = 'automatic'", "unknown setting 'relase'; did you mean 'release'?"),
        ("x = [", "is no valid TOML"),
    ],
)
def test_a_refused_setting_is_named_with_what_would_do(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_settings(write(tmp_path / "root", text), named=True)
    assert said in caught.value.message and "$." not in caught.value.message


def test_every_setting_has_a_rule_for_its_values(tmp_path: Path) -> None:
    for item in (*fields(Settings), *fields(ChannelSettings)):
        if item.name not in {"origins", "channels"}:
            inside = "[channels.plant]\n" if item.name == "release" else ""
            with pytest.raises(UsageError, match=item.name):
                load_settings(write(tmp_path / "root", f"{inside}{item.name} = 1979-05-27\n"), named=True)


def test_a_yes_or_no_of_the_environment_that_is_neither_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEGATE_CLOCK_TRUSTED", "maybe")
    with pytest.raises(UsageError, match="neither true nor false"):
        load_settings(tmp_path, named=True)
