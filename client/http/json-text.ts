/**
 * The raw text of JSON values. JSON.parse turns 9007199254740993 into 9007199254740992; these functions keep the digits.
 * They trust the text to be valid JSON: parse it first.
 */

/** Members of a JSON object as raw JSON texts by key. */
export function membersOf (object: string): Map<string, string> {
  const members = new Map<string, string>()
  let at = skipSpace(object, object.indexOf('{') + 1)
  while (object[at] === '"') {
    const keyEnd = skipString(object, at)
    const key = JSON.parse(object.slice(at, keyEnd)) as string
    const valueStart = skipSpace(object, object.indexOf(':', keyEnd) + 1)
    const valueEnd = skipValue(object, valueStart)
    members.set(key, object.slice(valueStart, valueEnd))
    at = skipComma(object, valueEnd)
  }
  return members
}

/** Elements of a JSON array as raw JSON texts. */
export function elementsOf (array: string): string[] {
  const elements: string[] = []
  let at = skipSpace(array, array.indexOf('[') + 1)
  while (at < array.length && array[at] !== ']') {
    const end = skipValue(array, at)
    elements.push(array.slice(at, end))
    at = skipComma(array, end)
  }
  return elements
}

/** A JSON object from raw members. */
export function objectText (members: Iterable<readonly [string, string]>): string {
  const parts: string[] = []
  for (const [key, raw] of members) parts.push(JSON.stringify(key) + ':' + raw)
  return '{' + parts.join(',') + '}'
}

/**
 * Whether JSON.parse reads every member of objects that is a number as it is written: integers of at most 15 digits. A text
 * that only looks like another number counts as one; numbers in arrays do not count.
 */
export function hasPlainNumbers (json: string): boolean {
  return !/"\s*:\s*(?:-0|-?\d+[.eE]|-?\d{16})/.test(json)
}

function skipSpace (text: string, at: number): number {
  while (text.charCodeAt(at) <= 32) at++
  return at
}

function skipComma (text: string, at: number): number {
  at = skipSpace(text, at)
  return text[at] === ',' ? skipSpace(text, at + 1) : at
}

function skipString (text: string, at: number): number {
  for (;;) {
    at = text.indexOf('"', at + 1)
    if (at < 0) return text.length
    let backslashes = 0
    while (text.charCodeAt(at - 1 - backslashes) === 92) backslashes++
    if (backslashes % 2 === 0) return at + 1
  }
}

function skipValue (text: string, at: number): number {
  const first = text[at]
  if (first === '"') return skipString(text, at)
  if (first !== '{' && first !== '[') {
    while (at < text.length && !',]}'.includes(text[at] as string) && text.charCodeAt(at) > 32) at++
    return at
  }
  for (let depth = 0; at < text.length;) {
    const char = text[at]
    if (char === '"') {
      at = skipString(text, at)
      continue
    }
    if (char === '{' || char === '[') depth++
    else if (char === '}' || char === ']') depth--
    at++
    if (depth === 0) break
  }
  return at
}
