import { sql, type Kysely } from 'kysely'
import type { TableRegistration } from '../options.js'
import type { Database } from '../storage/database.js'

/** A table as PostgreSQL's catalog has it. */
export interface CatalogTable {
  schema: string
  table: string
  kind: string
  persistence: string
  writable: boolean
  columns: CatalogColumn[]
  key: { columns: string[], deferrable: boolean } | null
  foreign_keys: CatalogForeignKey[]
  /** Triggers of the app, rules or generated columns: the database may store another row than it was given. */
  may_alter: boolean
  /** Triggers, rules or policies that may keep a row from being deleted. */
  may_keep: boolean
  watches_deletions: boolean
}

export interface CatalogColumn {
  name: string
  /** Of a domain, the type it is over. */
  type: string
  /** Name in pg_type; `enum`, `array`, or `other` for what is neither a base type nor a range. */
  kind: string
  element_kind: string | null
  /** The domain's name; null where it is none. */
  domain: string | null
  not_null: boolean
  has_default: boolean
  generated: boolean
  identity_always: boolean
  /** Equal is equal byte by byte; false for collations that ignore case, say. */
  deterministic: boolean
  /** Length of a varchar(n). */
  max_length: number | null
}

export interface CatalogForeignKey {
  constraint: string
  columns: string[]
  parent: string
  parent_columns: string[]
  /** a no action, r restrict, c cascade, n set null, d set default. */
  on_delete: 'a' | 'r' | 'c' | 'n' | 'd'
  on_update: 'a' | 'r' | 'c' | 'n' | 'd'
  /** Columns that SET NULL or SET DEFAULT is about; null where it is about all. */
  set_columns: string[] | null
}

/**
 * The registered tables as the catalog has them, one JSON text each, in the order of registration; tables that do not exist
 * are absent. Two readings with equal texts tell that nothing changed that matters here.
 */
export async function readCatalog (db: Kysely<Database>, registrations: TableRegistration[]): Promise<string[]> {
  const names = JSON.stringify(registrations.map(({ schema, table }) => ({ schema, table })))
  const { rows } = await sql<{ catalog: string }>`
    select json_build_object(
      'schema', n.nspname, 'table', c.relname, 'kind', c.relkind, 'persistence', c.relpersistence,
      'writable', has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'insert')
        and has_table_privilege(c.oid, 'update') and has_table_privilege(c.oid, 'delete'),
      'may_alter', triggers.alter or rules.any or exists (select from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attgenerated <> '' and not a.attisdropped),
      'may_keep', triggers.keep or rules.any or pg_catalog.row_security_active(c.oid),
      'watches_deletions', triggers.watches,
      'columns', coalesce((
        select json_agg(json_build_object(
          'name', a.attname, 'type', format_type(base.id, base.mod),
          'kind', case when t.typcategory = 'A' and t.typelem <> 0 and t.typlen = -1 then 'array' when t.typtype = 'e' then 'enum' when t.typtype in ('b', 'r', 'm') and (t.typnamespace = 'pg_catalog'::regnamespace or t.typname = 'citext') then t.typname else 'other' end,
          'element_kind', (select case when e.typtype = 'e' then 'enum' when e.typtype = 'b' and (e.typnamespace = 'pg_catalog'::regnamespace or e.typname = 'citext') then e.typname else 'other' end from pg_catalog.pg_type e where e.oid = t.typelem and t.typcategory = 'A'),
          'domain', case when base.id <> a.atttypid then format_type(a.atttypid, a.atttypmod) end,
          'not_null', a.attnotnull, 'has_default', a.atthasdef or a.attidentity <> '' or (select d.typdefault is not null from pg_catalog.pg_type d where d.oid = a.atttypid),
          'generated', a.attgenerated <> '', 'identity_always', a.attidentity = 'a',
          'deterministic', coalesce((select l.collisdeterministic from pg_catalog.pg_collation l where l.oid = a.attcollation), true),
          'max_length', case when t.typname = 'varchar' and base.mod > 4 then base.mod - 4 end) order by a.attnum)
        from pg_catalog.pg_attribute a
        cross join lateral (
          with recursive step as (
            select a.atttypid as id, a.atttypmod as mod, 1 as depth
            union all
            select d.typbasetype, case when step.mod = -1 then d.typtypmod else step.mod end, step.depth + 1
            from step join pg_catalog.pg_type d on d.oid = step.id where d.typtype = 'd')
          select step.id, step.mod from step order by step.depth desc limit 1) base
        join pg_catalog.pg_type t on t.oid = base.id
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]'),
      'key', (
        select json_build_object('deferrable', k.condeferrable, 'columns', (
          select json_agg(a.attname order by u.n)
          from unnest(k.conkey) with ordinality u (attnum, n)
          join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = u.attnum))
        from pg_catalog.pg_constraint k where k.conrelid = c.oid and k.contype = 'p'),
      'foreign_keys', coalesce((
        select json_agg(json_build_object(
          'constraint', f.conname, 'on_delete', f.confdeltype, 'on_update', f.confupdtype, 'parent', pn.nspname || '.' || p.relname,
          -- Since PostgreSQL 15, hence not by its name.
          'set_columns', (select json_agg(a.attname order by a.attnum) from jsonb_array_elements_text(nullif(to_jsonb(f) -> 'confdelsetcols', 'null')) u (attnum)
            join pg_catalog.pg_attribute a on a.attrelid = f.conrelid and a.attnum = u.attnum::int),
          'columns', (select json_agg(a.attname order by u.n) from unnest(f.conkey) with ordinality u (attnum, n)
            join pg_catalog.pg_attribute a on a.attrelid = f.conrelid and a.attnum = u.attnum),
          'parent_columns', (select json_agg(a.attname order by u.n) from unnest(f.confkey) with ordinality u (attnum, n)
            join pg_catalog.pg_attribute a on a.attrelid = f.confrelid and a.attnum = u.attnum)) order by f.conname)
        from pg_catalog.pg_constraint f
        join pg_catalog.pg_class p on p.oid = f.confrelid
        join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
        where f.conrelid = c.oid and f.contype = 'f' and not exists (
          -- A foreign key to a partitioned table has one more for each partition.
          select from pg_catalog.pg_constraint whole where whole.oid = f.conparentid and whole.conrelid = f.conrelid)), '[]')
    )::text as catalog
    from rows from (json_to_recordset(${names}::text::json) as ("schema" text, "table" text)) with ordinality as x ("schema", "table", place)
    join pg_catalog.pg_namespace n on n.nspname = x."schema"
    join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = x."table"
    cross join lateral (
      select coalesce(bool_or(g.tgtype & 20 <> 0), false) as alter, coalesce(bool_or(g.tgtype & 8 <> 0 and g.tgtype & 2 <> 0), false) as keep,
        coalesce(bool_or(g.tgtype & 8 <> 0 and g.tgtype & 1 = 0), false) as watches
      from pg_catalog.pg_trigger g
      where (g.tgrelid = c.oid or g.tgrelid in (select p.relid from pg_catalog.pg_partition_tree(c.oid) p)) and not g.tgisinternal and g.tgenabled in ('O', 'A')) triggers
    cross join lateral (
      select exists (select from pg_catalog.pg_rewrite w where w.ev_class = c.oid and w.ev_type <> '1') as any) rules
    order by x.place`.execute(db)
  return rows.map(({ catalog }) => catalog)
}

/** The columns of tables as the transaction sees them, by `schema.table`. */
export async function readColumnNames (db: Kysely<Database>, tables: Array<{ schema: string, table: string }>): Promise<Map<string, Set<string>>> {
  const { rows } = await sql<{ name: string, columns: string }>`
    select x."schema" || '.' || x."table" as name, json_agg(a.attname)::text as columns
    from json_to_recordset(${JSON.stringify(tables)}::text::json) as x ("schema" text, "table" text)
    join pg_catalog.pg_namespace n on n.nspname = x."schema"
    join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = x."table"
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    group by 1`.execute(db)
  return new Map(rows.map(({ name, columns }) => [name, new Set(JSON.parse(columns) as string[])]))
}
