import Database from 'better-sqlite3'
import { contentsOfDevice, type Contents } from '../common/compare.js'
import { localTables } from '../common/local-tables.js'

/** A user's stream as GET /sync/download tells it, and the rows that follow from it without any client. */
export interface Stream {
  /** Changes in the stream. */
  length: number
  /** What is wrong with it; empty where it is sound. */
  problems: string[]
  contents: Contents
  /** Each change in a word, in order. */
  entries: string[]
}

/** Small, so that most streams have several pages. */
const PAGE_LIMIT = 100

/*
 * Pages are taken apart by SQLite, for whose JSON functions an integer has 64 bits and a decimal all its digits.
 */
const CHANGES = `
  create table change (server_id integer primary key, tbl text, op text, pk text, version integer, deleted integer, source_id text, source_change_id integer, payload text);
  create view live as select c.* from change c where not deleted and server_id = (select max(server_id) from change o where o.tbl = c.tbl and o.pk = c.pk);
`

const ADD_PAGE = `
  insert into change select value ->> 'server_id', value ->> 'table', value ->> 'op', value ->> 'pk', value ->> 'server_version', value ->> 'deleted',
    value ->> 'source_id', value ->> 'source_change_id', value -> 'payload' from json_each(?, '$.changes')`

const ROWS = `
  insert into users select pk, payload ->> 'name', payload ->> 'email', payload ->> 'created_at', payload ->> 'updated_at' from live where tbl = 'users';
  insert into posts select pk, payload ->> 'title', payload ->> 'content', payload ->> 'author_id', payload ->> 'created_at', payload ->> 'updated_at' from live where tbl = 'posts';
  insert into files select pk, payload ->> 'name', bytes(payload ->> 'data') from live where tbl = 'files';
  insert into file_reviews select pk, payload ->> 'review', payload ->> 'file_id' from live where tbl = 'file_reviews';
  insert into typed_rows select pk, payload ->> 'big', iif(json_type(payload, '$.dec') in ('integer', 'real'), payload -> 'dec', payload ->> 'dec'), payload ->> 'flag', payload ->> 'ratio',
    iif(json_type(payload, '$.doc') = 'null', null, payload -> 'doc'), payload ->> 'note', bytes(payload ->> 'blob') from live where tbl = 'typed_rows';
`

/** Reads the whole stream, page by page inside one window, as a device would that knows nothing. `get` asks for a path as the user. */
export async function readStream (get: (path: string) => Promise<string>): Promise<Stream> {
  const db = new Database(':memory:')
  try {
    db.exec(localTables({ references: false }) + CHANGES)
    db.function('bytes', (base64: unknown) => base64 === null ? null : Buffer.from(String(base64), 'base64'))
    const problems = await addPages(db, get)
    db.exec(ROWS)
    return {
      length: db.prepare('select count(*) from change').pluck().get() as number,
      problems: [...problems, ...problemsOf(db)],
      contents: contentsOfDevice({ db }),
      entries: db.prepare("select server_id || ' ' || tbl || ' ' || op || ' ' || pk || ' v' || version || ' ' || source_id || '#' || source_change_id from change order by server_id").pluck().all() as string[]
    }
  } finally {
    db.close()
  }
}

async function addPages (db: Database.Database, get: (path: string) => Promise<string>): Promise<string[]> {
  const problems: string[] = []
  const add = db.prepare(ADD_PAGE)
  let after = 0
  let until = 0
  for (let hasMore = true; hasMore;) {
    const text = await get(`/sync/download?after=${after}&limit=${PAGE_LIMIT}&include_self=true` + (until === 0 ? '' : `&until=${until}`))
    add.run(text)
    const page = JSON.parse(text) as { changes: Array<{ server_id: number }>, has_more: boolean, next_after: number, window_until: number }
    if (page.changes.length > PAGE_LIMIT) problems.push(`a page has ${page.changes.length} changes where ${PAGE_LIMIT} were asked for`)
    if (page.changes.some(({ server_id: id }) => id <= after || id > page.next_after)) problems.push(`a page after ${after} has changes outside of it`)
    if (until !== 0 && page.window_until !== until) problems.push(`the window's end moved from ${until} to ${page.window_until}`)
    if (page.has_more && page.next_after <= after) throw new Error(`The page after ${after} makes no progress.`)
    until = page.window_until
    after = page.next_after
    hasMore = page.has_more
  }
  return problems
}

/** Promises that can be seen in the stream itself. */
function problemsOf (db: Database.Database): string[] {
  const queries: Record<string, string> = {
    'position where there should be another': 'select server_id from (select server_id, row_number() over (order by server_id) as place from change) where server_id <> place',
    'version of a row that does not follow on the one before': "select tbl || ' ' || pk || ' v' || version from (select *, row_number() over (partition by tbl, pk order by server_id) as expected from change) where version <> expected",
    'change that is in the stream twice': "select source_id || '#' || source_change_id from change group by source_id, source_change_id having count(*) > 1",
    'change whose deletion is not told as one': "select server_id from change where deleted <> (op = 'DELETE') or (op = 'DELETE') <> (coalesce(payload, 'null') = 'null')"
  }
  return Object.entries(queries).flatMap(([what, query]) => {
    const found = db.prepare(query).pluck().all()
    return found.length === 0 ? [] : [`${found.length} times a ${what}, first ${String(found[0])}`]
  })
}
