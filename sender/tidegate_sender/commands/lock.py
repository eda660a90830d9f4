"""``tidegate lock``: what every entry of a transfer list stands for, by digest, in a file beside the list."""

from pathlib import Path

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.errors import UsageError
from tidegate.text import printable


@click.command("lock", short_help="Hold a transfer list to digests: transfer.lock beside transfer.yaml.")
@click.argument("transfer_list", metavar="LIST.yaml", type=click.Path(path_type=Path))
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--update", is_flag=True, help="Resolve again what is locked: all, or the NAMEs (* ? match).")
@shared_options(writes=True)
def command(invocation: Invocation, transfer_list: Path, names: tuple[str, ...], update: bool) -> None:
    """Write LIST.lock: each tag by its digest, each folder by the digest of its tree. What is locked stays as it is,
    what is new in the list is added, what left it is removed; `pack` and `plan` then bring exactly that. No root and no
    key are needed."""
    from tidegate.files import write_durably
    from tidegate_sender.collect.lists.lock import changes, format_lock, lock_path, read_lock
    from tidegate_sender.collect.lists.locking import Renewal, lock_items
    from tidegate_sender.collect.lists.transfer_list import read_transfer_list

    if names and not update:
        raise UsageError(f"{' '.join(names)}: NAMEs say what to renew", hint="add --update")
    report, path = invocation.report, lock_path(transfer_list)
    if path == transfer_list:
        raise UsageError(f"{transfer_list}: this is a lock file; name its transfer list")
    items = read_transfer_list(transfer_list)
    before = read_lock(path) if path.is_file() else ()
    with report.progress() as progress:
        after = lock_items(
            items,
            before,
            Renewal(update and not names, names),
            client_factory=invocation.found_workspace().registries.client,
            progress=progress,
        )
    made = changes(before, after)
    data = format_lock(after, transfer_list.name)
    is_same = path.is_file() and path.read_bytes() == data
    if not is_same and not invocation.dry_run:
        write_durably(path, data)
    digests = {entry.name: entry.digest for entry in after}
    for name, word in made:
        report.line(f"{word:8} {printable(name)} {digests.get(name, '')}".rstrip())
    values = {"lock": str(path), "artifacts": len(after), "changes": [{"name": n, "change": w} for n, w in made]}
    if is_same:
        text = f"nothing to do: {path} holds all {len(after)} entries of the list"
    elif invocation.dry_run:
        text = f"{path} would change in {len(made)} of {len(after)} entries; nothing was changed"
    else:
        text = f'locked {len(after)} entries in {path}, {len(made)} changed; "tidegate pack {transfer_list}" uses it'
    report.closing(text, outcome="nothing" if is_same else "planned" if invocation.dry_run else "locked", **values)
