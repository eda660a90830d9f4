"""A channel that takes a name for which the settings already say something: whoever pins it is told."""

from pathlib import Path

from two_sides import Sides


def test_pinning_a_channel_under_a_name_that_is_released_automatically_is_a_warning(tmp_path: Path) -> None:
    sides = Sides.make(tmp_path)
    pinned = sides.high.good("trust", "list", "--json").objects[0]
    file = tmp_path / "plant.root"
    sides.low.good("keys", "export", file)
    again = ("trust", "add", file, "--fingerprint", str(pinned["fingerprint"]))
    sides.high.good("trust", "remove", str(pinned["name"]))
    assert "automatically" not in sides.high.good(*again, "--dry-run").err
    settings = sides.high.root / "tidegate.toml"
    settings.write_text(settings.read_text() + f'\n[channels.{pinned["name"]}]\nrelease = "automatic"\n')
    assert "is loaded automatically" in sides.high.good(*again).err
