import fc from 'fast-check'
import t from 'tap'
import { exactness } from '../../src/materializer/exactness.js'
import { freshDb } from '../helpers/db.js'

/** What dates and times are made of, and what looks nearly like it. */
const PIECES = ['0', '1', '5', '6', '9', '00', '12', '24', '59', '60', '03', '2026', '-', ':', ':60', '.', 'T', 'Z', ' ', '2026-03-01', '12:00:00', '12:00:60', '.123', '.123456', '.1234567', '060', 'T123460', 'now', 'epoch', '+01', '+00', ' BC', 'infinity']
const USUAL = '2026-03-01T12:34:56.123456'

const piece = fc.constantFrom(...PIECES)
/** The usual spelling, cut off somewhere, with a few pieces written over it or put between. */
const nearlyUsual = fc.tuple(fc.oneof(fc.constant(10), fc.integer({ min: 10, max: USUAL.length })), fc.constantFrom('', 'Z'), fc.array(fc.tuple(fc.nat(28), piece, fc.nat(5)), { maxLength: 3 }))
  .map(([length, zone, edits]) => edits.reduce((text, [at, piece, over]) => text.slice(0, at) + piece + text.slice(at + over), USUAL.slice(0, length) + zone))
const values = fc.oneof(nearlyUsual, fc.array(piece, { minLength: 1, maxLength: 8 }).map(pieces => pieces.join('')))

/** The whole question, asked of every value: does it say by itself what it is, and would PostgreSQL round it or make another minute of it? */
const isExact: Record<string, (text: string) => boolean> = {
  // A day with a time is kept where it is the beginning of the day: that is PostgreSQL's to say.
  date: text => isFixed(text) && /^[0-9]+-[0-9]+-[0-9]+( BC)?$/.test(text),
  timestamp: text => isFixed(text) && isWhole(text),
  timestamptz: text => ((/^[0-9]/.test(text) && !/now|today|tomorrow|yesterday|epoch|allballs/i.test(text)) || isSpecial(text)) && isWhole(text)
}

function isFixed (text: string): boolean {
  return /^[0-9]+([-.][0-9]+){0,2}((T| +)[0-9:.]+ ?(Z|[-+]00(:?00)?)?)?( BC)?$/.test(text) || isSpecial(text)
}

function isSpecial (text: string): boolean {
  return text === 'infinity' || text === '-infinity'
}

function isWhole (text: string): boolean {
  return !/[.][0-9]{6}[0-9]*[1-9]/.test(text) && !/(:0*|[T ]([0-9]{2}(?=[0-9]{4})|[0-9]{4}))60/.test(text)
}

t.test('a short look at a date or time says what the long one says (H8)', async t => {
  const { sql } = await freshDb(t)
  await sql`create function exact (question text, value text) returns text language plpgsql as $$ declare answer boolean; begin
    execute 'select ' || question into answer using value; return answer::text; exception when data_exception then return 'error'; end $$`
  for (const [kind, expected] of Object.entries(isExact)) {
    // A modifier is asked about besides, whatever the spelling.
    if (kind !== 'date') {
      const [row] = await sql`select exact(${exactness('$1::text', { kind, type: `${kind}(2)` } as never)}, '2026-03-01T12:34:56.125Z') as two, exact(${exactness('$1::text', { kind, type: `${kind}(3)` } as never)}, '2026-03-01T12:34:56.125Z') as three`
      t.strictSame({ ...row }, { two: 'false', three: 'true' }, `${kind}(2), ${kind}(3)`)
    }
    const texts = fc.sample(values, { numRuns: 40_000, seed: 1 })
    const rows = await sql<Array<{ text: string, answer: string }>>`
      select x.text, exact(${exactness('$1::text', { kind, type: kind } as never)}, x.text) as answer from json_array_elements_text(${JSON.stringify(texts)}::text::json) as x (text)`
    const wrong = rows.filter(({ text, answer }) => answer !== String(expected(text)) && !(kind === 'date' && isFixed(text)))
    t.strictSame(wrong.slice(0, 5), [], kind)
    for (const answer of ['true', 'false']) t.ok(rows.filter(row => row.answer === answer).length > 500, `${kind}: ${answer} came up`)
  }
  const [row] = await sql`select exact(${exactness('$1::text', { kind: 'timestamptz', type: 'timestamptz' } as never)}, null) as answer`
  t.equal(row?.['answer'], 'true', 'NULL stays NULL')
})
