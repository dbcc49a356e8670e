/* eslint-disable no-template-curly-in-string -- the snippets are source */
/** A classic defect, brought back by replacing snippets of the source when it is loaded. Each snippet must be there exactly once. */
export interface Defect {
  name: string
  /** The first seed of the search: it shows within a few from there. */
  from: number
  changes: Array<{ file: string, find: string, replace: string }>
}

export const DEFECTS: Defect[] = [
  {
    name: 'no lock of the stream',
    from: 1,
    changes: [{
      file: 'src/storage/stream.ts',
      find: '\n    for no key update of st',
      replace: ''
    }]
  },
  {
    name: 'positions are given before commit, outside the lock',
    from: 1,
    changes: [
      { file: 'src/service/upload.ts', find: "import type { Kysely, Transaction } from 'kysely'", replace: "import { sql, type Kysely, type Transaction } from 'kysely'" },
      {
        file: 'src/service/upload.ts',
        find: 'async trx => await beginUpload(trx, metadata, identity, rowsOf(prepared)), async (trx, begun) => {',
        replace: `async trx => {
    const { scopeId } = await ensureStream(db, identity.scope)
    const { rows: [given] } = await sql\`update sync.stream set head = head + \${prepared.length} where scope_id = \${String(scopeId)}::bigint returning head\`.execute(db)
    const begun = await beginUpload(trx, metadata, identity, rowsOf(prepared))
    begun.stream.head = Number(given.head) - prepared.length
    return begun
  }, async (trx, begun) => {`
      },
      { file: 'src/storage/stream.ts', find: '\n    for no key update of st', replace: '' },
      { file: 'src/storage/change-log.ts', find: "set head = ${'head'}::bigint where", replace: "set head = greatest(head, ${'head'}::bigint) where" }
    ]
  },
  {
    name: 'what an upload assumes of its rows is not looked at',
    from: 1,
    changes: [{
      file: 'src/storage/append-where-assumed.ts',
      find: 'r.version is distinct from x.v - 1 or r.deleted or',
      replace: 'r.version is null or'
    }]
  },
  {
    name: 'a conflict leaves its entry at the gate',
    from: 1,
    changes: [
      {
        file: 'src/service/upload.ts',
        find: 'const { judgement, affected, states } = settled',
        replace: `const { judgement, affected, states } = settled
    for (const { verdict, change } of judgement.decisions) {
      if (verdict === 'conflict') (globalThis.gate ??= new Map()).set(\`\${stream.scopeId} \${source.no} \${change.sourceChangeId}\`, { tableId: change.table.id, pk: change.pk, deletes: change.op === 'DELETE', version: change.base + 1, serverId: 0, payload: change.payload, carried: 0, digest: null })
    }`
      },
      {
        file: 'src/service/upload.ts',
        find: 'ledger: await readLedger(trx, metadata, scopeId, source.no, [...replayable], spend),',
        replace: `ledger: new Map([
      ...prepared.flatMap(({ sourceChangeId: id }) => { const at = globalThis.gate?.get(\`\${scopeId} \${source.no} \${id}\`); return at === undefined ? [] : [[id, at]] }),
      ...await readLedger(trx, metadata, scopeId, source.no, [...replayable], spend)
    ]),`
      }
    ]
  },
  {
    name: 'a replay is judged anew',
    from: 1,
    changes: [{ file: 'src/service/decide.ts', find: 'const earlier = entryUnder(change.sourceChangeId)', replace: 'const earlier = undefined as LedgerEntry | undefined' }]
  },
  {
    name: 'a replay is answered without its version',
    from: 1,
    changes: [{ file: 'src/service/decide.ts', find: "return { verdict: 'nothing', change, version: earlier.version, replay: true,", replace: "return { verdict: 'nothing', change, version: null, replay: true," }]
  },
  {
    name: 'a reused id is swallowed',
    from: 1060,
    changes: [
      { file: 'src/service/decide.ts', find: 'if (isSameContent(change, earlier, spellings)) return', replace: 'return' },
      { file: 'src/service/decide.ts', find: 'return earlier !== undefined && !isSameContent(change as PreparedChange, earlier, spellings)', replace: 'return false' }
    ]
  },
  {
    name: 'an acknowledgement deletes a newer edit',
    from: 1,
    changes: [{
      file: 'client/sqlite/judge.ts',
      find: "if (isEditedSince(context, entry)) driver.run('update _sync_pending set image = ? where tbl = ? and key = ?', [entry.sent === null ? null : encodeRow(entry.sent), entry.table, entry.key])",
      replace: "driver.run('delete from _sync_pending where tbl = ? and key = ?', [entry.table, entry.key])"
    }]
  },
  {
    name: 'a download overwrites an edit',
    from: 1,
    changes: [{ file: 'client/sqlite/server-row.ts', find: 'else mergeServerState(context, table, key, image, state)', replace: 'else takeOver(context, table, key, state, known, false)' }]
  },
  {
    name: 'rows are applied by REPLACE',
    from: 45,
    changes: [
      { file: 'client/sqlite/local-row.ts', find: '`insert${orAbort(table)} into ${tableSql(table)} (', replace: '`insert or replace into ${tableSql(table)} (' },
      { file: 'client/sqlite/local-row.ts', find: '`on conflict (${keyColumnsSql(table)}) do ${action}`', replace: "''" }
    ]
  },
  {
    name: 'the cursor is stored outside the transaction',
    from: 90,
    changes: [
      {
        file: 'client/sqlite/apply.ts',
        find: "import { comesAgain, laidOutChanges, layOut, standsAsAsked, takePages } from './stage.js'",
        replace: "import { comesAgain, laidOutChanges, layOut, windowPages } from './stage.js'\nimport { transact } from './transaction.js'"
      },
      {
        file: 'client/sqlite/apply.ts',
        find: 'let position = 0',
        replace: `let position = 0
  const pages = [...windowPages(driver, last)]
  if (asked.rebuild === null) transact(driver, () => { dropStage(driver); writeState(driver, { cursor: last.windowUntil }) })`
      },
      { file: 'client/sqlite/apply.ts', find: '    if (!standsAsAsked(state, asked)) return null\n', replace: '' },
      { file: 'client/sqlite/apply.ts', find: 'of rebuilt === null ? takePages(driver, last) : laidOutChanges(driver)) {', replace: 'of rebuilt === null ? pages : laidOutChanges(driver)) {' }
    ]
  },
  {
    name: 'a page ends one too late',
    from: 1,
    changes: [{ file: 'src/service/download.ts', find: '"next_after":${hasMore ? page.examined : page.windowUntil}', replace: '"next_after":${hasMore ? page.examined + 1 : page.windowUntil}' }]
  },
  {
    name: 'tombstones are forgotten',
    from: 1,
    changes: [{ file: 'src/storage/row-state.ts', find: 's.pk = x.k collate "C" limit 1', replace: 's.pk = x.k collate "C" and not s.deleted limit 1' }]
  },
  {
    name: 'numbers go through a float',
    from: 1,
    changes: [{ file: 'src/service/plan-upload.ts', find: 'prepareChange(change, payloads[index] ?? null, index,', replace: 'prepareChange(change, payloads[index] == null ? null : { ...payloads[index], text: payloads[index].text.replace(/(:-?\\d{15})(\\d+)/g, (_, kept, rest) => kept + "0".repeat(rest.length)) }, index,' }]
  }
]
