import fs from 'node:fs'
import t from 'tap'
import { INVALID_REASONS } from '../../src/contract/change-status.js'
import { ERRORS } from '../../src/errors.js'
import { VERSION } from '../../src/version.js'

const page = fs.readFileSync('docs/errors.md', 'utf8')
const [errorPart, reasonPart] = page.split('## Refused changes') as [string, string]
const rowsOf = (markdown: string) => markdown.split('\n').filter(line => line.startsWith('| `')).map(line => line.split('|').slice(1, -1).map(cell => cell.trim()))

t.test('docs/errors.md has exactly the errors that the code can answer', async t => {
  const documented = rowsOf(errorPart).map(([code, status, retry, advice]) => [code?.replaceAll('`', ''), Number(status), retry === 'yes', advice])
  t.strictSame(documented, Object.entries(ERRORS).map(([code, { status, retry, advice }]) => [code, status, retry, advice]))
})

t.test('docs/errors.md has exactly the reasons for which a change can be refused', async t => {
  const documented = rowsOf(reasonPart).flatMap(([reasons]) => [...(reasons ?? '').matchAll(/`(\w+)`/g)].map(match => match[1]))
  t.strictSame(documented.sort(), [...INVALID_REASONS].sort())
})

t.test('the version in GET /status is the version of the package', async t => {
  t.equal(VERSION, JSON.parse(fs.readFileSync('package.json', 'utf8')).version)
})
