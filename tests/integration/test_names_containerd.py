"""containerd's own code reads the `hosts.toml` that we write: where it would ask for which image."""

import subprocess
from pathlib import Path

import pytest
from go_judges import build_judge

from tidegate_receiver.naming.formats import ReportFormat, render, write_report
from tidegate_receiver.naming.rows import NameRow

SOURCE = Path(__file__).parent / "go-hosts-check"
DIGEST = "sha256:" + "a" * 64


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_judge(SOURCE, tmp_path_factory.mktemp("go"), go="1.24", fetches="containerd's code")


def asks(judge: Path, folder: Path, host: str) -> list[str]:
    done = subprocess.run([judge, folder, host], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def row(old: str, new: str) -> NameRow:
    return NameRow(old, new, DIGEST, DIGEST, "image")


def test_containerd_asks_the_new_place_first_and_only_to_pull(judge: Path, tmp_path: Path) -> None:
    rows = (
        row("docker.io/library/alpine:3", "new.example:5000/mirror/hub/library/alpine:3"),
        row("quay.io/team/app:1", "new.example:5000/team/app:1"),
        row("reg.example:5000/deep/er/app:1", "plain.example:80/in/deep/er/app:1"),
    )
    report = render(rows, ReportFormat.HOSTS, insecure=frozenset({"plain.example:80"}))
    write_report(report, tmp_path)
    assert report.notes == ()
    assert asks(judge, tmp_path, "docker.io") == [
        "https://new.example:5000/v2/mirror/hub pull=true push=false",
        "https://registry-1.docker.io/v2 pull=true push=true",
    ]
    assert asks(judge, tmp_path, "quay.io")[0] == "https://new.example:5000/v2 pull=true push=false"
    assert asks(judge, tmp_path, "reg.example:5000")[0] == "http://plain.example:80/v2/in pull=true push=false"


def test_containerd_asks_each_of_several_places_of_one_registry(judge: Path, tmp_path: Path) -> None:
    rows = (row("quay.io/a:1", "one.example/x/a:1"), row("quay.io/b:1", "two.example/b:1"))
    write_report(render(rows, ReportFormat.HOSTS), tmp_path)
    places = [line.split()[0] for line in asks(judge, tmp_path, "quay.io")]
    assert places == ["https://one.example/v2/x", "https://two.example/v2", "https://quay.io/v2"]
