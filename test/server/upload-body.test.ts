import fc, { type Arbitrary } from 'fast-check'
import t from 'tap'
import { parseUploadBody } from '../../src/service/upload-body.js'

/** Keys that begin alike, end alike, or hold what a scan of JSON text might stumble over. */
const KEYS = ['', 'a', 'ab', 'abc', 'a"', 'a"b', 'a\\', 'a\\"', '\\', '"', 'b', 'é', '\u0001', '😀', '{', '}', ',', ':', 'payload', 'changes', 'source_change_id']

/** JSON text of a string, some characters as escapes that JSON.stringify would not write. */
function stringText (text: string, escapes: boolean): string {
  if (!escapes) return JSON.stringify(text)
  return `"${[...text].flatMap(character => character.split('')).map(unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')}"`
}

const value: Arbitrary<string> = fc.oneof(fc.constantFrom('1', '-0.50', '12345678901234567890', 'null', 'true', '[]', '{"a":"}"}', '[{"a\\"":[1]}, 2]'), fc.string().map(text => JSON.stringify(text)))
const member = fc.record({ key: fc.constantFrom(...KEYS), value, escapes: fc.boolean(), space: fc.constantFrom('', ' ', '\n\t') })
/** Most payloads of a body have the keys of the one before, some of them one fewer or one more. */
const payloads = fc.tuple(fc.uniqueArray(member, { selector: ({ key }) => key, maxLength: 6 }), fc.array(fc.record({ without: fc.nat(6), other: fc.option(member), value }), { minLength: 1, maxLength: 6 }))
  .map(([members, payloads]) => payloads.map(({ without, other, value }) => [
    ...members.filter(({ key }, i) => i !== without && key !== other?.key).map((member, i) => i === 1 ? { ...member, value } : member),
    ...other === null ? [] : [other]
  ]))

t.test('a payload is found as it was sent, and its members too, whatever the keys and whatever came before it', async t => {
  t.doesNotThrow(() => {
    fc.assert(fc.property(payloads, payloads => {
      const texts = payloads.map(members => `{${members.map(({ key, value, escapes, space }) => `${space}${stringText(key, escapes)}${space}:${space}${value}${space}`).join(',')}}`)
      const body = `{"changes": [${texts.map((text, i) => `{"source_change_id":${i + 1},"table":"notes","op":"INSERT","pk":"k","server_version":0,"payload":${text}}`).join(' , ')}]}`
      const { payloads: found } = parseUploadBody(body)
      for (const [i, members] of payloads.entries()) {
        const payload = found[i]
        if (payload?.text !== texts[i]) throw new Error(`payload ${i} is ${payload?.text}`)
        const seen = payload?.members.map(({ key, start, end }) => [key, payload.text.slice(start, end)])
        if (JSON.stringify(seen) !== JSON.stringify(members.map(({ key, value }) => [key, value]))) throw new Error(`payload ${i} has ${JSON.stringify(seen)}`)
      }
    }), { numRuns: 5_000 })
  })
})

t.test('a change without a payload has none, whatever the one before it has; of what is given twice the last counts', async t => {
  const change = (rest: string): string => `{"source_change_id":1,"table":"notes","op":"DELETE","pk":"k","server_version":0${rest}}`
  const texts = (changes: string): unknown => parseUploadBody(changes).payloads.map(payload => payload?.text ?? null)
  t.strictSame(texts(`{"changes":[${change(',"payload":{"a":1}')},${change('')},${change(',"payload":null')},${change(',"payload":{}')}]}`), ['{"a":1}', null, null, '{}'])
  t.strictSame(texts(`{"changes":[${change(',"payload":{"a":1},"payload":{"b":2}')},${change(',"payload":{"a":1},"payload":null')},${change(',"payload":null,"payload":{"c":3}')}]}`), ['{"b":2}', null, '{"c":3}'])
  t.strictSame(texts(`{"changes":[${change(',"payload":{"a":1}')}],"changes":[${change('')},${change(',"payload":{"d":{"payload":{}}}')}]}`), [null, '{"d":{"payload":{}}}'])
})
