"""What a timer runs: nothing new is nothing packed, one run at a time, an alarm once a trouble."""

import fcntl
import json
from pathlib import Path

import pytest
from relay import running_relay
from stream_reader import StreamReader
from two_sides import Sides

PASSWORD = "geheim-4711"


@pytest.fixture
def listed(sides: Sides) -> Path:
    docs = sides.make_files(count=1, size=1000)
    path = sides.folder / "list.yaml"
    path.write_text(f"tidegate: 1\nfiles: [{docs}]\n")
    return path


def settings(sides: Sides, text: str) -> None:
    path = sides.low.root / "tidegate.toml"
    path.write_text(path.read_text() + text)


def break_list(sides: Sides, listed: Path, *, required: bool = False) -> None:
    docs = sides.folder / "docs"
    word = "true" if required else "false"
    listed.write_text(f"tidegate: 1\nfiles: [{docs}, {{path: {sides.folder}/missing, required: {word}}}]\n")


def test_a_run_with_nothing_new_packs_nothing_and_ends_with_0(sides: Sides, listed: Path) -> None:
    first = sides.low.good("sync", listed)
    (line,) = [line for line in first.out.splitlines() if line.startswith("item=")]
    assert line.startswith("item=brought name=files/docs kind=files digest=sha256:")
    assert "waits for a medium" in first.out
    bundle = sides.low.rows()[0]
    again = sides.low.good("sync", listed, "--json").objects
    assert (again[-1]["outcome"], again[-1]["packed"]) == ("waits", False)
    assert [item["item"] for item in again[:-1]] == ["brought"]
    sides.send(bundle.name)
    third = sides.low.good("sync", listed, "--json").objects[-1]
    assert (third["outcome"], third["packed"]) == ("nothing", False)
    assert [row.bundle_id for row in sides.low.rows()] == [bundle.bundle_id]
    sides.make_files(count=1, size=1000, seed=2)
    assert sides.low.good("sync", listed, "--json").objects[-1]["packed"]
    assert len(sides.low.rows()) == 2


def test_it_sends_over_a_link_at_once_and_again_where_that_failed(sides: Sides, listed: Path) -> None:
    failed = sides.low.run("sync", listed, "--to", "udp://127.0.0.1:9", "--rate", "nonsense")
    assert failed.code != 0
    with StreamReader() as reader:
        answer = sides.low.good("sync", listed, "--to", reader.address, "--rate", "1gbit", "--mtu", "1500")
        reader.finish()
        (session,) = reader.sessions.values()
    assert session.announcement.name == sides.low.rows()[0].name
    assert "was sent" in answer.out
    done = sides.low.good("sync", listed, "--to", "udp://127.0.0.1:9", "--json").objects[-1]
    assert done["outcome"] == "nothing"


def test_it_writes_to_a_medium_at_once_and_a_missing_one_gets_it_with_the_next_run(sides: Sides, listed: Path) -> None:
    stick = sides.stick
    sides.low.fails(24, "sync", listed, "--to", stick / "away")
    (bundle,) = sides.low.rows()
    assert "was sent" in sides.low.good("sync", listed, "--to", stick).out
    assert [row.state for row in sides.low.rows()] == ["sent"]
    sides.high.good("receive", stick)
    sides.assert_loads(bundle.name)
    done = sides.low.good("sync", listed, "--to", stick, "--json").objects[-1]
    assert (done["outcome"], done["packed"]) == ("nothing", False)


def test_what_is_not_read_back_is_not_called_removable(sides: Sides, listed: Path) -> None:
    answer = sides.low.good("sync", listed, "--to", sides.stick, "--no-read-back", "--json")
    (sent,) = [item for item in answer.objects if "may_be_removed" in item]
    assert (sent["read_back"], sent["may_be_removed"]) == ("skipped", False)


@pytest.mark.parametrize(
    "words",
    [
        ("--no-read-back",),
        ("--to", "udp://127.0.0.1:9", "--no-read-back"),
        ("--to", "stick", "--rate", "1gbit"),
        ("--to", "stick", "--queue"),
    ],
)
def test_words_that_do_not_go_together_are_refused_before_anything_is_brought(
    sides: Sides, listed: Path, words: tuple[str, ...]
) -> None:
    sides.low.fails(2, "sync", listed, *words)
    assert sides.low.rows() == ()


def test_a_second_run_at_the_same_time_touches_nothing(sides: Sides, listed: Path) -> None:
    with open(sides.low.root / "spool" / "sync.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sides.low.fails(74, "sync", listed)
    assert sides.low.rows() == ()
    sides.low.good("sync", listed)


def test_trouble_is_mailed_once_and_its_end_too(sides: Sides, listed: Path) -> None:
    (sides.folder / "password").write_text(f"{PASSWORD}\n")
    with running_relay() as relay:
        text = f'mail_to = ["ops@plant.example"]\nmail_from = "tidegate@plant.example"\nsmtp = "{relay.address}"\n'
        login = f'smtp_user = "tide"\nsmtp_password_file = "{sides.folder}/password"\n'
        settings(sides, f"[alarm]\n{text}{login}")
        sides.low.good("sync", listed)
        assert relay.mails == []
        break_list(sides, listed)
        answer = sides.low.fails(3, "sync", listed)
        assert "item=failed" in answer.out
        sides.low.fails(3, "sync", listed)
        (mail,) = relay.mails
        assert "To: ops@plant.example" in mail
        assert "missing" in mail.replace("=\r\n", "")
        assert "exit code 3" in mail
        assert PASSWORD not in mail + answer.out + answer.err
        break_list(sides, listed, required=True)
        sides.low.run("sync", listed)
        assert len(relay.mails) == 2  # another trouble
        listed.write_text(f"tidegate: 1\nfiles: [{sides.folder}/docs]\n")
        sides.low.good("sync", listed)
        sides.low.good("sync", listed)
        assert len(relay.mails) == 3
        assert "ended well" in relay.mails[-1]
    assert PASSWORD not in json.dumps(sides.low.entries())


def test_an_alarm_that_nobody_hears_is_a_warning_and_an_entry_and_is_tried_again(sides: Sides, listed: Path) -> None:
    (sides.folder / "password").write_text(PASSWORD)
    program = sides.folder / "tell"
    program.write_text(f'#!/bin/sh\ncat >> "{sides.folder}/told"\nexit 1\n')
    program.chmod(0o755)
    with running_relay() as relay:
        relay.refuses = True
        text = f'mail_to = ["ops@plant.example"]\nmail_from = "tidegate@plant.example"\nsmtp = "{relay.address}"\n'
        login = f'smtp_user = "tide"\nsmtp_password_file = "{sides.folder}/password"\ncommand = ["{program}"]\n'
        settings(sides, f"[alarm]\n{text}{login}")
        break_list(sides, listed)
        for _ in range(2):
            answer = sides.low.fails(3, "sync", listed)
            assert "alarm by mail" in answer.err
            assert "alarm by command" in answer.err
            assert PASSWORD not in answer.err
    assert (sides.folder / "told").read_text().count("exit code 3") == 2
    alarms = [item for item in sides.low.entries() if item["event"] == "hook"]
    assert [item["outcome"] for item in alarms] == ["failed"] * 4


@pytest.mark.parametrize(
    "text",
    [
        'mail_to = ["ops@plant.example"]',
        'mail_to = ["a@b\\nBcc: c@d"]\nmail_from = "a@b"\nsmtp = "relay:25"',
        'smtp = "relay"',
        'command = "sh -c x"',
    ],
)
def test_settings_of_an_alarm_that_cannot_be_are_refused(sides: Sides, listed: Path, text: str) -> None:
    settings(sides, f"[alarm]\n{text}\n")
    sides.low.fails(2, "sync", listed)
