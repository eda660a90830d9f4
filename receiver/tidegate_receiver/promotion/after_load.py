"""What follows a load: reports of names, and whoever is to be told, so that GitLab, Jenkins or Argo can start.

It never undoes a load, and what fails in it is an entry and a warning. A program runs without a shell, in a group of
its own that is ended when its time is over; an address gets one POST, without redirects. Neither output nor answer is
kept, and no token gets into a message.
"""

import json
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.config_tables import AfterLoadSettings
from tidegate.errors import HostError, TidegateError, UsageError
from tidegate.hooks import run_program, try_hook
from tidegate.workspace import Workspace
from tidegate_receiver.naming.formats import ReportFormat, known_format, make_report, write_report

if TYPE_CHECKING:
    from tidegate_receiver.promotion.promotion import LoadReport

BODY_VERSION = 1
_TOKEN_MAX_BYTES = 16 * 1024
_ANSWER_MAX_BYTES = 64 * 1024


def follow(
    workspace: Workspace, done: "LoadReport", reports: Iterable[tuple[ReportFormat, Path]] = ()
) -> tuple[str, ...]:
    """Write the reports of every target that was loaded, then tell of it; what failed, in words."""
    notes = list(_write_reports(workspace, done, tuple(reports)))
    settings = workspace.settings.after_load
    if (settings.command or settings.url) and not done.nothing_to_do:
        body = json.dumps(_body(done), sort_keys=True).encode()
        if settings.command:
            notes += _told(
                workspace,
                done,
                "command",
                lambda: run_program(settings.command, body, settings.seconds, TIDEGATE_BUNDLE=done.bundle_name),
            )
        if settings.url:
            notes += _told(workspace, done, "post", lambda: post(settings, body))
    return tuple(notes)


def _write_reports(
    workspace: Workspace, done: "LoadReport", wanted: tuple[tuple[ReportFormat, Path], ...]
) -> Iterable[str]:
    loaded = {found.target for found in done.targets if found.error is None}
    for target in sorted(loaded):
        named = [item for item in workspace.settings.targets.values() if _is(workspace, item.to, target)]
        kept = [(kind, Path(file)) for item in named for kind, file in item.reports.items()]
        for word, file in (*(wanted if len(loaded) == 1 else ()), *kept):
            try:
                kind = known_format(word)
                with workspace.state.reading() as tx:
                    settings = named[0] if named else None
                    access = workspace.registries.access
                    made = make_report(tx, target, kind, settings=settings, access=access)
                write_report(made, file)
                yield from made.notes
            except TidegateError as error:
                yield f"report {word}: {error.message}"
    if wanted and len(loaded) != 1:
        yield '--report needs one target; "tidegate names --to TARGET" writes it for each'


def _is(workspace: Workspace, to: str, target: str) -> bool:
    from tidegate.depot.store import Depot
    from tidegate_receiver.loaders.targets import open_loader

    try:
        return open_loader(to, Depot(workspace.root / "depot", create=False), workspace.registries).target == target
    except TidegateError:
        return False  # a setting that is wrong is said where it is used


def _body(done: "LoadReport") -> dict[str, Any]:
    """What is told: docs/guides/targets.md, "When it is loaded"."""
    return {
        "version": BODY_VERSION,
        "event": "loaded",
        "bundle": done.bundle_name,
        "bundle_id": done.bundle_id,
        "channel": done.channel_name,
        "stage": done.stage,
        "targets": [
            {"target": found.target, "error": found.error.message if found.error else None} for found in done.targets
        ],
        "items": [
            {"name": item.name, "place": item.place, "digest": item.digest, "changed": item.changed}
            for item in done.items
        ],
    }


def _told(workspace: Workspace, done: "LoadReport", what: str, tell: Callable[[], None]) -> Iterable[str]:
    """Run `tell`; an entry says what came of it."""
    error = try_hook(
        workspace,
        tell,
        subject=done.bundle_name,
        step=f"after load {what}",
        bundle=done.bundle_id or None,
        bundle_name=done.bundle_name,
        channel_name=done.channel_name,
    )
    return (f"after the load: {error.message}; what was loaded stays",) if error else ()


def post(settings: AfterLoadSettings, body: bytes) -> None:
    """Send `body` to the address. Raises HostError, UsageError; never says the token."""
    import urllib3

    from tidegate.registry.access import proxy_for

    where = settings.url.partition("?")[0]
    headers = {"Content-Type": "application/json", "User-Agent": "tidegate"}
    if settings.token_file:
        headers["Authorization"] = f"Bearer {_token(settings.token_file)}"
    timeout = urllib3.Timeout(connect=min(10, settings.seconds), read=settings.seconds)
    options: dict[str, Any] = {"timeout": timeout, "ssl_context": _tls(settings.ca)}
    proxy = proxy_for(settings.url)
    try:
        pool = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
        answer = pool.request(
            "POST", settings.url, body=body, headers=headers, redirect=False, retries=False, preload_content=False
        )
        answer.read(_ANSWER_MAX_BYTES)
        answer.close()
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise HostError(f"{where}: {type(error).__name__}: no answer that could be read") from None
    if not 200 <= answer.status < 300:
        raise HostError(f"{where}: HTTP {answer.status}")


def _token(path: str) -> str:
    try:
        with open(Path(path).expanduser(), "rb") as file:
            data = file.read(_TOKEN_MAX_BYTES + 1)
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from None
    text = data.decode("ascii", "replace").strip()
    if len(data) > _TOKEN_MAX_BYTES or not text or not all("!" <= letter <= "~" for letter in text):
        raise UsageError(f"{path}: is no token in one line")
    return text


def _tls(ca: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca:
        try:
            context.load_verify_locations(Path(ca).expanduser())
        except OSError:
            raise UsageError(f"after_load.ca: {ca}: is no file of certificates that can be used") from None
    return context
