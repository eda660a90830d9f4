"""The tables of state.db, and the steps from each version of them to the next.

`MIGRATIONS[n]` brings a database of version n to version n + 1; the version stands in SQLite's ``user_version``.
A step once released is never edited.
"""

#: marks the file as ours ("TgSt"), so that another program's database is not taken for an old version
APPLICATION_ID = 0x54675374

_VERSION_1 = (
    """
    CREATE TABLE meta (
        key   TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE channels (
        channel_id       TEXT PRIMARY KEY,
        name             TEXT NOT NULL,
        epoch            INTEGER NOT NULL,
        next_sequence    INTEGER NOT NULL,
        highest_sequence INTEGER NOT NULL,
        floor_sequence   INTEGER NOT NULL,
        updated          INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE bundles (
        bundle_id    TEXT PRIMARY KEY,
        channel_id   TEXT NOT NULL,
        sequence     INTEGER NOT NULL,
        name         TEXT NOT NULL,
        side         TEXT NOT NULL,
        state        TEXT NOT NULL,
        created      INTEGER NOT NULL,
        expires      INTEGER,
        path         TEXT,
        size         INTEGER NOT NULL,
        content_size INTEGER NOT NULL,
        artifacts    TEXT NOT NULL,
        previous     TEXT,
        updated      INTEGER NOT NULL,
        detail       TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX bundles_by_number ON bundles (channel_id, sequence)",
    """
    CREATE TABLE names (
        channel_id TEXT NOT NULL,
        name       TEXT NOT NULL,
        sequence   INTEGER NOT NULL,
        digest     TEXT NOT NULL,
        PRIMARY KEY (channel_id, name)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE jobs (
        id      INTEGER PRIMARY KEY AUTOINCREMENT,
        kind    TEXT NOT NULL,
        subject TEXT NOT NULL,
        step    TEXT NOT NULL,
        cursor  TEXT NOT NULL,
        state   TEXT NOT NULL,
        started INTEGER NOT NULL,
        updated INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE UNIQUE INDEX jobs_running ON jobs (kind, subject) WHERE state = 'running'",
    # AUTOINCREMENT: a number is never given twice, so the order of rows is the order of commits for good.
    # `entry` is emptied once the ledger holds it; the row stays, since it counts the attempts.
    """
    CREATE TABLE outbox (
        id           INTEGER PRIMARY KEY AUTOINCREMENT,
        event_id     TEXT NOT NULL UNIQUE,
        step_key     TEXT NOT NULL,
        attempt      INTEGER NOT NULL,
        entry        BLOB,
        queued_at    INTEGER NOT NULL,
        ledger_index INTEGER,
        UNIQUE (step_key, attempt)
    ) STRICT
    """,
    "CREATE INDEX outbox_waiting ON outbox (id) WHERE ledger_index IS NULL",
)

# Version 2: the media register. Labels are not unique: a high side may meet one label with two tokens.
_VERSION_2 = (
    """
    CREATE TABLE media (
        token        TEXT PRIMARY KEY,
        label        TEXT NOT NULL COLLATE NOCASE,
        channel_id   TEXT NOT NULL,
        state        TEXT NOT NULL,
        counter      INTEGER NOT NULL,
        token_digest TEXT NOT NULL,
        registered   INTEGER NOT NULL,
        updated      INTEGER NOT NULL,
        device       TEXT NOT NULL,
        contents     TEXT,
        detail       TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX media_by_label ON media (label)",
)

# Version 3: what goes, or went, over which link. `place` orders what has one priority; `passes` counts whole sendings.
_VERSION_3 = (
    """
    CREATE TABLE sendings (
        bundle_id TEXT NOT NULL,
        link      TEXT NOT NULL,
        state     TEXT NOT NULL,
        priority  INTEGER NOT NULL,
        place     INTEGER NOT NULL,
        pieces    TEXT NOT NULL,
        passes    INTEGER NOT NULL,
        queued    INTEGER NOT NULL,
        sent      INTEGER,
        last      INTEGER,
        detail    TEXT NOT NULL,
        PRIMARY KEY (bundle_id, link)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX sendings_by_link ON sendings (link, state, priority, place)",
)

# Version 4: what this site put where. `digest` is what was read back there, `root` what the bundle brought.
_VERSION_4 = (
    """
    CREATE TABLE placements (
        target     TEXT NOT NULL,
        channel_id TEXT NOT NULL,
        name       TEXT NOT NULL,
        place      TEXT NOT NULL,
        digest     TEXT NOT NULL,
        root       TEXT NOT NULL,
        kind       TEXT NOT NULL,
        expect     TEXT NOT NULL,
        bundle_id  TEXT NOT NULL,
        loaded     INTEGER NOT NULL,
        PRIMARY KEY (target, channel_id, name)
    ) STRICT, WITHOUT ROWID
    """,
)

# Version 5: the few bundles that declare numbers void are asked for with each bundle that comes; `state.bundles` asks
# in these very words. Of 10,000 bundles each look read all: 12 ms.
HAS_VOIDS = """instr(detail, '"void": [[') > 0"""
_VERSION_5 = (f"CREATE INDEX bundles_with_voids ON bundles (channel_id, sequence, created) WHERE {HAS_VOIDS}",)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5)
SCHEMA_VERSION = len(MIGRATIONS)
