"""Hold the images of a bundle to what must belong to them, offline: before anything of it is loaded anywhere.

What must be there came with the bundle, under the release key's signature; whose signatures count is this site's to say
(`provenance_keys`): where it names keys, a key that was only carried is not believed. Every verdict is for the ledger.
"""

from collections.abc import Iterable
from pathlib import Path

from tidegate.config import Settings
from tidegate.depot.graph import BlobReader
from tidegate.errors import ProvenanceError
from tidegate.ledger.entries import Provenance
from tidegate.provenance.attachments import ATTACHMENT, Attachment, attachments_among
from tidegate.provenance.expectation import Expectation, Judgement, judge, parse_expectation
from tidegate.provenance.keys import PublicKey, read_key
from tidegate.registry.reference import split_place
from tidegate_receiver.loaders.items import LoadItem


def check_provenance(settings: Settings, source: BlobReader, items: Iterable[LoadItem]) -> tuple[Provenance, ...]:
    """The verdict for each image that expects something, or that this site's keys are held against.

    Raises ProvenanceError, with all verdicts, where an expectation is not met; KeyFileError for a setting that names no
    key; FormatError for an expectation that cannot be read.
    """
    listed = tuple(items)
    own = tuple(read_key(Path(path).expanduser()) for path in settings.provenance_keys)
    if not own and not any(item.expect for item in listed):
        return ()
    attached = attachments_among(source, {item.name: item.root for item in listed if item.kind == ATTACHMENT})
    judged = {}
    for item in listed:
        repository, _ = split_place(item.place)
        belonging = attached.get(f"{repository}@{item.root.digest}", ())
        if item.kind != ATTACHMENT and (belonging or item.expect):
            judged[item.name] = _judge(source, item, belonging, own)
    verdicts = tuple(Provenance(name, found.verdict) for name, found in judged.items())
    faults = [f"{name}: {'; '.join(found.faults)}" for name, found in judged.items() if found.faults]
    if faults:
        raise ProvenanceError("\n".join(faults), verdicts=tuple((item.name, item.verdict) for item in verdicts))
    return verdicts


def _judge(
    source: BlobReader, item: LoadItem, attached: tuple[Attachment, ...], own: tuple[PublicKey, ...]
) -> Judgement:
    if not item.expect:
        return judge(source, attached, own, None)
    expectation = parse_expectation(item.expect, what=item.name)
    carried = expectation.public_keys(item.name)
    if not own:
        return judge(source, attached, carried, expectation)
    return _by_own_keys(source, attached, expectation, carried, own)


def _by_own_keys(
    source: BlobReader,
    attached: tuple[Attachment, ...],
    expectation: Expectation,
    carried: tuple[PublicKey, ...],
    own: tuple[PublicKey, ...],
) -> Judgement:
    """As the bundle expects, by those of its keys that are this site's too, under this site's names."""
    known = {key.key_id: key for key in own}
    strangers = tuple(
        f"it is to be signed by {key.name} ({key.key_id[:16]}), and that is no key of this site"
        for key in carried
        if key.key_id not in known
    )
    if strangers:
        return Judgement(f"refused: {'; '.join(strangers)}", strangers)
    believed = tuple(known[key.key_id] for key in carried)
    return judge(source, attached, believed, expectation)
