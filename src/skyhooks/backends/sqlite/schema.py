"""The tables, and how a file is known to be a store: of this version, new, or something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ..._values import Retention
from ...exceptions import StoreCorrupt

if TYPE_CHECKING:
    from .connection import Connection

APPLICATION_ID = 0x736B7968
"""ASCII `skyh`, in the header of each store."""
VERSION = 1

TABLES = """
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A member stands for an instance's id in hooks; AUTOINCREMENT: it is never given twice.
CREATE TABLE instances (
    member INTEGER PRIMARY KEY AUTOINCREMENT,
    instance_id TEXT NOT NULL UNIQUE,
    url TEXT,
    details BLOB,                          -- the Instance as JSON; NULL: it has hooks, but has not joined
    since REAL NOT NULL,                   -- when it joined; before that, when it last added hooks
    expires REAL,
    generation INTEGER NOT NULL DEFAULT 1  -- raised with each token that is given out
) STRICT;
CREATE INDEX instances_url ON instances (url) WHERE url IS NOT NULL;

-- Members whose row is gone and whose hooks are being removed, some at a time.
CREATE TABLE departed (
    member INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE keys (
    key_id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    epoch TEXT NOT NULL,
    seq INTEGER NOT NULL DEFAULT 0,
    floor INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    oldest REAL,                           -- when the entry behind the floor was appended
    remembered INTEGER NOT NULL DEFAULT 0, -- how many ids it was ever told to remember
    touched REAL NOT NULL,
    due REAL NOT NULL                      -- when reap has to look at it, at the latest
) STRICT;
CREATE INDEX keys_due ON keys (due);

CREATE TABLE hooks (
    key_id INTEGER NOT NULL,
    member INTEGER NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (key_id, member)
) STRICT, WITHOUT ROWID;
CREATE INDEX hooks_member ON hooks (member);

-- Which held keys something was published to while a member's token was of that generation. Apart from the hooks,
-- so that a publish dirties one page of a member's and not a page for each hook.
CREATE TABLE moves (
    member INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    key_id INTEGER NOT NULL,
    PRIMARY KEY (member, generation, key_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE entries (
    key_id INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    nonce TEXT NOT NULL,
    data BLOB NOT NULL,
    sent_at REAL NOT NULL,
    keys TEXT,
    mac BLOB,
    appended REAL NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (key_id, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX entries_id ON entries (key_id, id);

CREATE TABLE remembered (
    key_id INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    id TEXT NOT NULL,
    nonce TEXT NOT NULL,
    appended REAL NOT NULL,
    PRIMARY KEY (key_id, ordinal)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX remembered_id ON remembered (key_id, id);
"""

# One statement, one snapshot: another process may be making the store just now.
_MARKS = """
SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
FROM pragma_application_id, pragma_user_version
"""


def is_new(db: Connection, path: str) -> bool:
    """Tell an empty file from a store of this version; nothing is written.

    Raises:
        StoreCorrupt: for anything else.

    """
    [(application, version, tables)] = db.rows(_MARKS)
    if application == APPLICATION_ID and version == VERSION:
        return False
    if application == APPLICATION_ID and version > VERSION:
        raise StoreCorrupt(
            f"{path} was written by a newer skyhooks (schema {version}, this one knows {VERSION}); upgrade skyhooks"
        )
    if application or version or tables:
        raise StoreCorrupt(f"{path} is a database of something else, not a skyhooks store; name another file")
    return True


def create(db: Connection, retention: Retention, boot: str) -> None:
    """Make an empty file a store; within a transaction."""
    db.execute(TABLES)
    meta = (("retention", msgspec.json.encode(retention).decode()), ("boot", boot))
    db.executemany("INSERT INTO meta VALUES (?, ?)", meta)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {VERSION}")


def retention(db: Connection) -> Retention:
    """Return what whoever created the store decided."""
    return msgspec.json.decode(db.value("SELECT value FROM meta WHERE name = 'retention'"), type=Retention)


def boot(db: Connection) -> str:
    """Return the boot under which the store was last opened."""
    boot: str = db.value("SELECT value FROM meta WHERE name = 'boot'")
    return boot


def set_boot(db: Connection, boot: str) -> None:
    """Write down the boot under which the store is open."""
    db.execute("UPDATE meta SET value = ? WHERE name = 'boot'", (boot,))


def renew_epochs(db: Connection) -> int:
    """Give every log a new epoch, and let each holder hear of it at its next heartbeat; return how many."""
    db.execute("UPDATE keys SET epoch = lower(hex(randomblob(8)))")
    renewed = db.raw.changes()
    db.execute(
        "INSERT OR IGNORE INTO moves SELECT member, generation, key_id FROM hooks JOIN instances USING (member)"
        " WHERE details NOT NULL"
    )
    return renewed
