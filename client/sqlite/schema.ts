import type { Driver } from '../drivers/driver.js'
import { SyncClientError } from '../errors.js'

/**
 * The client's own tables. `tbl` is a table's wire name, `key` a row's key as text (a blob where it cannot travel, see
 * `keySql`), `image`, `sent` and the like are rows as `encodeRow` writes them.
 */
const VERSION_1 = `
-- One row: who this file belongs to, where it stands, and what is going on.
create table _sync_client (
  id integer primary key check (id = 1),
  user_id text,                                -- null: nobody is signed in
  scope text,                                  -- null: the user's own stream
  given_device_id text,                        -- what the app asked for; source_id differs after a rotation
  source_id text not null,
  next_change_id integer not null default 1,   -- ids are never used again, whatever becomes of their change
  acked_next integer not null default 1,       -- the server's next id as far as every id below it is known to be this file's
  epoch text,                                  -- null until the first handshake
  url text,                                    -- the server that said so, normalised
  rebuild text,                                -- why everything is downloaded again; null where it is not
  cursor integer not null default 0,
  include_self integer not null default 0,     -- the next window also brings this device's own changes
  applying integer not null default 0,         -- 1 or 2 only inside a transaction in which the client writes: capture rests; 2: echoes are noted
  migrating integer not null default 0,        -- the app's migration is under way: nothing is captured, rows are kept in _sync_migration
  recheck integer not null default 0,          -- edits may have been missed: the next window looks for them
  stamp integer not null default 0,            -- counts the client's own transactions over rows
  progress integer not null default 0,         -- the last stamp at which a server row was taken over
  stage_after integer,                         -- where the window on its way goes on: null where no page of it is here
  stage_until integer,
  stage_floor integer
) strict;

-- Tables that have been opened once: their older rows are queued. shape: the form of their images. is_gone: 1: dropped; 2: there, but left
-- out by this version of the app when the server's history was compared: all of its rows are pending when it is opened again.
create table _sync_table (tbl text primary key, shape text not null, is_gone integer not null default 0) strict, without rowid;

-- Every row as it was before the app's migration; empty outside.
create table _sync_migration (tbl text not null, key any not null, image text not null, primary key (tbl, key)) strict, without rowid;

-- What the server is known to hold, deletions too.
create table _sync_row (
  tbl text not null,
  key text not null,
  server_version integer not null,
  deleted integer not null,
  extra text,                                  -- members of the server's row that have no column here, as raw JSON
  json_columns text,                           -- TEXT columns whose last server value was a JSON object or array
  stamp integer not null,
  primary key (tbl, key)
) strict, without rowid;

-- Rows changed here and not frozen. image: the server's row before the change, null for none.
create table _sync_pending (
  id integer primary key,
  tbl text not null,
  key any not null,
  image text,
  attempts integer not null default 0,         -- times it was refused and tried again by itself
  sent text,                                   -- the row in an earlier batch that may be on the server, by us or by a copy of this file ('deleted' for none): if it is, it is the base
  unique (tbl, key)
) strict;

-- The frozen batch: sent again, byte for byte, until the server has judged it.
create table _sync_outbox (
  source_change_id integer primary key,
  tbl text not null,
  key text not null,
  base_version integer not null,
  image text,
  sent text,                                   -- the row as sent, null for a deletion
  change text not null,                        -- the change as it stands in the request
  attempts integer not null,
  sent_before text,                            -- as _sync_pending.sent: what an earlier batch had of the row
  dropped text,                                -- values that the change gave to columns which a migration has dropped since
  is_waiting integer not null default 0,       -- frozen by a migration and not sent yet: other rows may still join the batch
  is_orphan integer not null default 0,        -- its table was dropped since, and made again: the verdict is not about the rows of now
  unique (tbl, key)
) strict;

-- Rows that were refused, or cannot be sent. image as in _sync_pending.
create table _sync_held (
  id integer primary key autoincrement,         -- never used again: apps hold on to it between held() and discardHeld()
  tbl text not null,
  key any not null,
  image text,
  reason text not null,
  message text not null,
  details text,
  missing text,                                -- fk_missing: the parents, [[tbl, key], …]
  attempts integer not null,
  stamp integer not null,
  since text not null,
  unique (tbl, key)
) strict;

-- Server rows that cannot be shown now.
create table _sync_shadow (
  id integer primary key,
  tbl text not null,
  key text not null,
  server_version integer not null,
  deleted integer not null,
  payload text,
  reason text not null,
  message text not null,
  unique (tbl, key)
) strict;

-- Rows that could not be shown when the server lost them: only this device has them.
create table _sync_lost (tbl text not null, key text not null, payload text not null, primary key (tbl, key)) strict, without rowid;

-- Sources whose changes this device has seen: after a restore they tell the old history from what came since.
create table _sync_seen (source_id text primary key) strict, without rowid;

-- The window on its way, page by page, but for its last: each reply as it came, by its last position.
create table _sync_page (last_id integer primary key, reply text not null) strict;

-- Working space of the transaction that applies it, where single changes must be found: the window once more, change by change.
create table _sync_stage (
  server_id integer primary key,
  tbl text not null,
  key text not null,
  server_version integer not null,
  deleted integer not null,
  payload text,
  source_id text not null
) strict;
create index _sync_stage_row on _sync_stage (tbl, key);

-- Automatic decisions, for people.
create table _sync_conflict (
  id integer primary key autoincrement,
  tbl text not null,
  key text not null,
  kind text not null,
  columns text not null,
  rule text not null,
  before text,
  mine text,
  theirs text,
  result text,
  at text not null,
  undone text                                  -- which of the three was taken instead, later
) strict;

-- Working space of one transaction; empty outside.
create table _sync_touched (tbl text not null, key text not null, primary key (tbl, key)) strict, without rowid;
-- image: what a row should be that was touched while the client wrote; null: it should not be there.
create table _sync_echo (tbl text not null, key any not null, image text, primary key (tbl, key)) strict, without rowid;
create table _sync_parked (tbl text not null, key text not null, image text not null, primary key (tbl, key)) strict, without rowid;
`

/** Numbered from 1; a file at version n gets those after n. Never edit one that was released. */
const MIGRATIONS = [VERSION_1]

/** Creates or upgrades the client's tables. Call inside a transaction. */
export function migrate (driver: Driver): void {
  driver.exec('create table if not exists _sync_schema (version integer not null) strict')
  const version = driver.all<{ version: number }>('select version from _sync_schema')[0]?.version ?? 0
  if (version > MIGRATIONS.length) {
    throw new SyncClientError('invalid_option', `The file was written by a newer version of the client (schema ${version}; this one knows ${MIGRATIONS.length}).`)
  }
  for (const migration of MIGRATIONS.slice(version)) driver.exec(migration)
  if (version === MIGRATIONS.length) return
  driver.run('delete from _sync_schema')
  driver.run('insert into _sync_schema (version) values (cast(? as integer))', [String(MIGRATIONS.length)])
}
