import fs from 'node:fs'
import path from 'node:path'
import t from 'tap'

/** The cases that there must be an answer to, by group. Taking one out of the page takes a change here. */
const CASES: Record<string, number[]> = {
  A: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 21, 24, 25],
  B: [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 18, 19, 20],
  C: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23, 24],
  D: [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 17, 18, 19, 20, 21, 22, 23, 24, 25],
  E: [1, 2, 3, 4, 5],
  F: [1, 2, 3, 4, 5, 7, 8, 10, 11, 12],
  G: [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12],
  H: [1, 2, 3, 5, 7, 8, 10, 11, 12, 14, 15, 16, 17, 19, 20, 21, 22, 23, 24],
  I: [1, 2, 3, 4, 5, 8, 9, 10, 11],
  J: [1, 2, 3, 4, 5, 7, 8, 9],
  K: [1, 2, 3, 4, 5, 8, 10, 11, 12],
  L: [1, 2, 3, 4, 6, 7, 9]
}
const IDS = Object.entries(CASES).flatMap(([group, numbers]) => numbers.map(number => `${group}${number}`))

/** An anomaly of databases has a name of the same form. */
const OTHER_NAMES = new Set(['G0'])

interface Row {
  id: string
  device: boolean
  files: string[]
  /** What is said instead of a file, or beside it. */
  reason: string
}

const page = fs.readFileSync('docs/cases.md', 'utf8')
const rows = page.split('\n').filter(line => /^\| [A-Z]\d+ \|/.test(line)).map((line): Row => {
  const [id, what, outcome, where, ...rest] = line.split('|').slice(1, -1).map(cell => cell.trim())
  if (what === '' || outcome === '' || where === undefined || rest.length > 0) throw new Error(`A row has four cells: ${line}`)
  return {
    id: id as string,
    device: page.indexOf(line) > page.indexOf('## On the device'),
    files: [...where.matchAll(/`([^`]+\.test\.ts)`/g)].map(match => match[1] as string),
    reason: where.replaceAll(/`[^`]+`|[,;]/g, '').trim()
  }
})

/** Ids that the names of tests carry, by file. */
const carried = new Map(fs.readdirSync('test', { recursive: true, encoding: 'utf8' }).map(file => file.split(path.sep).join('/'))
  .filter(file => file.endsWith('.test.ts') && file !== 'docs/cases.test.ts')
  .map(file => [file, new Set(namesOfTests(fs.readFileSync(path.join('test', file), 'utf8')).flatMap(idsIn))]))

function namesOfTests (source: string): string[] {
  return [...source.matchAll(/\bt\.test\(\s*(?:'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)"|`((?:\\.|[^`\\])*)`)/g)].map(match => match[1] ?? match[2] ?? match[3] ?? '')
}

function idsIn (name: string): string[] {
  return [...name.matchAll(/(?<![\w-])[A-L]\d+(?![\w-])/g)].map(match => match[0]).filter(id => !OTHER_NAMES.has(id))
}

t.test('docs/cases.md has every case, and no other', async t => {
  t.strictSame([...new Set(rows.map(({ id }) => id))].sort(), [...IDS].sort())
  for (const device of [false, true]) {
    const ids = rows.filter(row => row.device === device).map(({ id }) => id)
    t.equal(new Set(ids).size, ids.length, `each once ${device ? 'of the device' : 'of the server'}`)
  }
})

t.test('every case says where it is tested, or why not', async t => {
  for (const { id, files, reason } of rows) t.ok(files.length > 0 || reason.length > 20, `${id}: "${reason}"`)
  const only = (wanted: boolean) => IDS.filter(id => rows.some(row => row.id === id && row.files.length > 0) === wanted)
  t.comment(`${only(true).length} of ${IDS.length} cases are covered by tests, ${only(false).length} have a reason instead: ${only(false).join(', ')}`)
})

t.test('the tests that the page names carry the id in a name', async t => {
  for (const { id, files } of rows) {
    for (const file of files) t.ok(carried.get(file)?.has(id), `${id}: ${file}`)
  }
})

t.test('the page names every file in which a test carries an id', async t => {
  for (const [file, ids] of carried) {
    for (const id of ids) t.ok(rows.some(row => row.id === id && row.files.includes(file)), `${file}: ${id}`)
  }
})

t.test('ids are found in names however they stand there', async t => {
  const source = ["t.test('it\\'s A1', x); t.test(", '  `B2 ${x}`, y) ; await t.test("C3", z); text.test(\'D4\')'].join('\n') // eslint-disable-line no-template-curly-in-string
  t.strictSame(namesOfTests(source), ["it\\'s A1", 'B2 ${x}', 'C3']) // eslint-disable-line no-template-curly-in-string
  t.strictSame(idsIn('K4, J1: G2-item and P4 and H1-H23 of v1 (A1, L9) G0'), ['K4', 'J1', 'A1', 'L9'])
})
