"""Many small bundles that wait for a link: what months of `tidegate pack` and `outbox add` leave, made at once.

They are written and signed with the root's own keys by the code of the formats. `tidegate pack` itself would read all
unconfirmed bundles before each new one, which is not what is measured here.
"""

import random
import sys
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "support"))

from made_bundles import make_body, make_manifest, manifest_bytes  # noqa: E402

from tidegate import clock  # noqa: E402
from tidegate.bundle.container import BundleWriter  # noqa: E402
from tidegate.bundle.cover import build_cover, signatures_piece  # noqa: E402
from tidegate.bundle.manifest import BundleReference  # noqa: E402
from tidegate.bundle.tables import as_bytes  # noqa: E402
from tidegate.config import Role  # noqa: E402
from tidegate.state.bundles import put_bundle  # noqa: E402
from tidegate.state.sendings import Sending, put_sending  # noqa: E402
from tidegate.trust.envelope import MANIFEST_TYPE, sign_detached  # noqa: E402
from tidegate.workspace import Workspace  # noqa: E402
from tidegate_sender.packing.records import bundle_row  # noqa: E402

CHUNK_BYTES = 1 << 20


def make_waiting(low: Path, link: str, count: int, size: int, *, seed: int, first: int = 1) -> tuple[str, ...]:
    """`count` bundles of one file of `size` random bytes, all waiting for `link`; their ids in the order of numbers."""
    workspace = Workspace.open(low, role=Role.LOW)
    chain, signer = workspace.trust.own_channel(), workspace.signer("release")
    generator = random.Random(seed)
    previous, rows = None, []
    for sequence in range(first, first + count):
        blob = b"".join(generator.randbytes(min(CHUNK_BYTES, size - at)) for at in range(0, size, CHUNK_BYTES))
        body = make_body([blob], chunk_bytes=CHUNK_BYTES)
        manifest = make_manifest(
            body,
            [blob],
            channel=chain.channel_id,
            channel_name=chain.newest.name,
            epoch=chain.newest.epoch,
            audience=tuple(chain.newest.sites),
            sequence=sequence,
            created=clock.format_time(clock.now()),
            previous=previous,
        )
        data = manifest_bytes(manifest)
        path = Path("spool", f"{manifest.name}.tgb")
        writer = BundleWriter(low / path)
        writer.append_chunk(body.chunks)
        cover = build_cover((signatures_piece(sign_detached(data, MANIFEST_TYPE, (signer,))),))
        tables = [as_bytes(table) for table in body.tables.all()]
        bundle_id = writer.finish(data, tables, cover, chain.to_bytes())
        row = bundle_row(manifest, bundle_id, path, (low / path).stat().st_size, 0)
        rows.append(replace(row, detail={**row.detail, "write_begun": True}))
        previous = BundleReference(bundle_id, sequence)
    with workspace.state.transaction() as tx:
        for place, row in enumerate(rows, 1):
            put_bundle(tx, row)
            put_sending(tx, Sending(row.bundle_id, link, place=place))
    workspace.state.close()
    return tuple(row.bundle_id for row in rows)
