"""All formats of a report, and where each is written: one file, or for containerd a folder of ``HOST/hosts.toml``."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tidegate.config_tables import TargetSettings
from tidegate.errors import UsageError
from tidegate.files import host_error, write_durably
from tidegate.registry.access import RegistryAccess
from tidegate.state.db import Transaction
from tidegate.state.placements import STAGE, list_placements
from tidegate_receiver.naming.rows import NameRow, rows_of

OBJECT_NAME = "tidegate"


class ReportFormat(StrEnum):
    """What a report is for."""

    CSV = "csv"
    JSON = "json"
    ANSIBLE = "ansible"
    IDMS = "idms"
    ITMS = "itms"
    HOSTS = "hosts"
    REGISTRIES = "registries"
    KBLD = "kbld"
    IMAGES_LOCK = "imageslock"
    PACKAGE_REPOSITORY = "packagerepository"
    KYVERNO = "kyverno"
    POLICY_CONTROLLER = "policy-controller"


#: those that also say something of what is in no registry
PLAIN = frozenset({ReportFormat.CSV, ReportFormat.JSON})


@dataclass(frozen=True, slots=True)
class Report:
    """A report: its files by path below where it is written (one is called ""), and what it could not say."""

    files: dict[str, str]
    notes: tuple[str, ...] = ()


def make_report(
    tx: Transaction,
    target: str,
    kind: ReportFormat,
    *,
    host: str = "",
    settings: TargetSettings | None = None,
    access: RegistryAccess | None = None,
) -> Report:
    """The report of everything that was put to `target`. Raises UsageError where there is nothing, or no registry."""
    if target.startswith(STAGE) and not host:
        raise UsageError("a stage has no address of its own", hint="name where it is served: --host HOST:PORT")
    rows = rows_of(list_placements(tx, target), host)
    if not rows:
        raise UsageError(f"{target}: nothing was loaded there from here", hint='"tidegate names" lists the targets')
    place = host or target.partition("/")[0]
    is_registry = target.startswith(STAGE) or ("+" not in target and not target.startswith(("/", "tar:", "imgpkg:")))
    if not is_registry and kind not in PLAIN:
        raise UsageError(f"{target}: is no registry, and {kind} is for registries", hint="csv and json are for all")
    insecure = frozenset({place} if access is not None and access.scheme(place) == "http" else ())
    return render(rows, kind, secret=settings.secret if settings else "", insecure=insecure)


def render(
    rows: tuple[NameRow, ...], kind: ReportFormat, *, secret: str = "", insecure: frozenset[str] = frozenset()
) -> Report:
    """`rows` in one format."""
    from tidegate_receiver.naming import carvel, lists, mirrors, policies

    if kind is ReportFormat.HOSTS:
        files, unsaid = mirrors.hosts_files(rows, insecure=insecure)
        why = "has another name there, and containerd has no rule for that: it is left out"
        return Report(files, tuple(f"{name}: {why}" for name in unsaid))
    writers = {
        ReportFormat.CSV: lambda: lists.csv_list(rows),
        ReportFormat.JSON: lambda: lists.json_list(rows),
        ReportFormat.ANSIBLE: lambda: lists.ansible_variables(rows),
        ReportFormat.IDMS: lambda: mirrors.digest_mirrors(rows, OBJECT_NAME),
        ReportFormat.ITMS: lambda: mirrors.tag_mirrors(rows, OBJECT_NAME),
        ReportFormat.REGISTRIES: lambda: mirrors.registries_conf(rows, insecure=insecure),
        ReportFormat.KBLD: lambda: carvel.kbld_config(rows),
        ReportFormat.IMAGES_LOCK: lambda: carvel.images_lock(rows),
        ReportFormat.PACKAGE_REPOSITORY: lambda: carvel.package_repositories(rows, secret),
        ReportFormat.KYVERNO: lambda: policies.kyverno_policies(rows, OBJECT_NAME),
        ReportFormat.POLICY_CONTROLLER: lambda: policies.controller_policies(rows, OBJECT_NAME),
    }
    text = writers[kind]()
    notes = [] if text else [f"{kind}: nothing of what is there belongs into it"]
    if kind is ReportFormat.POLICY_CONTROLLER:
        why = (
            "is signed in the bundle format alone, which policy-controller does not check by key: it lets none of it in"
        )
        notes += [f"{row.new}: {why}" for row in policies.bundled_images(rows)]
    return Report({"": text}, tuple(notes))


def write_report(report: Report, path: Path) -> tuple[Path, ...]:
    """Write the files, each put in its place whole. Raises HostError."""
    written = []
    for name, text in report.files.items():
        file = path / name if name else path
        try:
            if name:
                file.parent.mkdir(parents=True, exist_ok=True)
            write_durably(file, text.encode())
        except OSError as error:
            raise host_error(error, str(file)) from None
        written.append(file)
    return tuple(written)


def known_format(word: str) -> ReportFormat:
    """The format of that name. Raises UsageError."""
    try:
        return ReportFormat(word)
    except ValueError:
        raise UsageError(f"{word[:80]!r} is no format of a report", hint=_FORMATS) from None


def parse_report_option(text: str) -> tuple[ReportFormat, Path]:
    """``FORMAT:FILE`` of ``load --report``. Raises UsageError."""
    word, colon, path = text.partition(":")
    if not colon or not path:
        raise UsageError(f"--report {text}: write FORMAT:FILE", hint=_FORMATS)
    return known_format(word), Path(path)


_FORMATS = f"formats: {', '.join(sorted(ReportFormat))}"
