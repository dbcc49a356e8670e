/**
 * Finds the text of values inside JSON text that JSON.parse has already accepted. Payloads are stored and compared by
 * their text: JSON.parse would round a long number and hide a key that is given twice.
 */

export interface Member {
  key: string
  /** Where the value begins and ends in the text. */
  start: number
  end: number
}

const QUOTE = 34
const BACKSLASH = 92
const OPEN_BRACE = 123
const CLOSE_BRACE = 125
const OPEN_BRACKET = 91
const CLOSE_BRACKET = 93

/**
 * Calls `visit` for each member of the object at `at`; a visitor that has walked the value itself returns its end. Returns the
 * object's end. `plainKeys` are the keys of the object before, by place, where they have no escape: those that are the same
 * again need no new text. It is brought up to date.
 */
export function eachMember (text: string, at: number, visit: (key: string, start: number) => number, plainKeys: Array<string | undefined> | null = null): number {
  let i = skipSpace(text, at + 1)
  if (text.charCodeAt(i) === CLOSE_BRACE) return i + 1
  for (let place = 0; ; place++) {
    let key = plainKeys?.[place]
    if (key !== undefined && text.startsWith(key, i + 1) && text.charCodeAt(i + 1 + key.length) === QUOTE) {
      i += key.length + 2
    } else {
      const keyEnd = endOfString(text, i)
      const raw = text.slice(i + 1, keyEnd - 1)
      const isPlain = !raw.includes('\\')
      key = isPlain ? raw : JSON.parse(`"${raw}"`) as string
      if (plainKeys !== null) plainKeys[place] = isPlain ? raw : undefined
      i = keyEnd
    }
    i = skipSpace(text, skipSpace(text, i) + 1)
    i = skipSpace(text, visit(key, i))
    if (text.charCodeAt(i) === CLOSE_BRACE) return i + 1
    i = skipSpace(text, i + 1)
  }
}

/** Like eachMember, for the elements of an array. */
export function eachElement (text: string, at: number, visit: (start: number) => number): number {
  let i = skipSpace(text, at + 1)
  if (text.charCodeAt(i) === CLOSE_BRACKET) return i + 1
  for (;;) {
    i = skipSpace(text, visit(i))
    if (text.charCodeAt(i) === CLOSE_BRACKET) return i + 1
    i = skipSpace(text, i + 1)
  }
}

/** The end of the value at `at`. */
export function endOfValue (text: string, at: number): number {
  const first = text.charCodeAt(at)
  if (first === QUOTE) return endOfString(text, at)
  if (first !== OPEN_BRACE && first !== OPEN_BRACKET) {
    let i = at + 1
    while (i < text.length && !isDelimiter(text.charCodeAt(i))) i++
    return i
  }
  let depth = 0
  for (let i = at; ;) {
    const code = text.charCodeAt(i)
    if (code === QUOTE) {
      i = endOfString(text, i)
      continue
    }
    i++
    if (code === OPEN_BRACE || code === OPEN_BRACKET) depth++
    else if ((code === CLOSE_BRACE || code === CLOSE_BRACKET) && --depth === 0) return i
  }
}

/** The deepest nesting of containers in JSON text; 0 for a scalar. */
export function depthOf (text: string): number {
  let depth = 0
  let deepest = 0
  for (let i = 0; i < text.length;) {
    const code = text.charCodeAt(i)
    if (code === QUOTE) {
      i = endOfString(text, i)
      continue
    }
    i++
    if (code === OPEN_BRACE || code === OPEN_BRACKET) deepest = Math.max(deepest, ++depth)
    else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) depth--
  }
  return deepest
}

/** Whether a text has more than `limit` objects and arrays. It need not be JSON: nothing has looked at it yet. */
export function hasMoreContainers (text: string, limit: number): boolean {
  if (text.length <= limit) return false
  let count = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === QUOTE) {
      i = endOfString(text, i) - 1
      if (i < 0) return false
    } else if ((code === OPEN_BRACE || code === OPEN_BRACKET) && ++count > limit) {
      return true
    }
  }
  return false
}

/** The text of an object without its last `count` members. */
export function withoutLast (text: string, count: number): string {
  const ends: number[] = []
  eachMember(text, skipSpace(text, 0), (_key, start) => {
    const end = endOfValue(text, start)
    ends.push(end)
    return end
  })
  const kept = ends.length - count
  return kept > 0 ? `${text.slice(0, ends[kept - 1])}}` : '{}'
}

/** One spelling for all JSON texts that mean the same: no white space, keys sorted, strings decoded; numbers stay as written. */
export function canonical (text: string): string {
  return canonicalAt(text, skipSpace(text, 0)).text
}

/** The spelling of the value at `at`, and where it ends: each character is walked once. */
function canonicalAt (text: string, at: number): { text: string, end: number } {
  const first = text.charCodeAt(at)
  if (first === OPEN_BRACE) {
    const members: Array<[string, string]> = []
    const end = eachMember(text, at, (key, start) => {
      const value = canonicalAt(text, start)
      members.push([key, value.text])
      return value.end
    })
    members.sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0)
    return { text: '{' + members.map(([key, value]) => JSON.stringify(key) + ':' + value).join(',') + '}', end }
  }
  if (first === OPEN_BRACKET) {
    const elements: string[] = []
    const end = eachElement(text, at, start => {
      const value = canonicalAt(text, start)
      elements.push(value.text)
      return value.end
    })
    return { text: '[' + elements.join(',') + ']', end }
  }
  const end = endOfValue(text, at)
  const value = text.slice(at, end)
  return { text: first === QUOTE ? JSON.stringify(JSON.parse(value)) : value, end }
}

/** The members of an object's text, positions relative to it. */
export function membersOf (text: string): Member[] {
  const members: Member[] = []
  eachMember(text, skipSpace(text, 0), (key, start) => {
    const end = endOfValue(text, start)
    members.push({ key, start, end })
    return end
  })
  return members
}

/** An object's text with other values for some members and without others, by their place; the text itself where neither. */
export function editObject (text: string, members: Member[], replaced: ReadonlyMap<number, string>, removed: ReadonlySet<number>): string {
  if (removed.size > 0) {
    const kept = members.flatMap(({ key, start, end }, i) => removed.has(i) ? [] : [`${JSON.stringify(key)}:${replaced.get(i) ?? text.slice(start, end)}`])
    return `{${kept.join(',')}}`
  }
  let edited = ''
  let copied = 0
  for (const [i, value] of replaced) {
    const { start, end } = members[i] as Member
    edited += text.slice(copied, start) + value
    copied = end
  }
  return edited + text.slice(copied)
}

/** An object's text without the members of the given names. */
export function withoutMembers (text: string, names: ReadonlySet<string>): string {
  if (names.size === 0) return text
  const members = membersOf(text)
  return editObject(text, members, new Map(), new Set(members.flatMap(({ key }, i) => names.has(key) ? [i] : [])))
}

/** An object's text with the members of another laid over it. */
export function overlayObject (text: string, over: string): string {
  const members = membersOf(text)
  const place = new Map(members.map(({ key }, i) => [key, i]))
  const replaced = new Map<number, string>()
  const added: string[] = []
  for (const { key, start, end } of membersOf(over)) {
    const at = place.get(key)
    if (at === undefined) added.push(`${JSON.stringify(key)}:${over.slice(start, end)}`)
    else replaced.set(at, over.slice(start, end))
  }
  const edited = editObject(text, members, new Map([...replaced].sort(([a], [b]) => a - b)), new Set())
  return added.length === 0 ? edited : `${edited.slice(0, edited.lastIndexOf('}')).trimEnd()}${members.length === 0 ? '' : ','}${added.join(',')}}`
}

/** The end of the string at `at`; 0 where it has none, which JSON.parse refuses. */
function endOfString (text: string, at: number): number {
  let i = at + 1
  for (;;) {
    const quote = text.indexOf('"', i)
    if (quote < 0) return 0
    let backslashes = 0
    while (text.charCodeAt(quote - 1 - backslashes) === BACKSLASH) backslashes++
    if (backslashes % 2 === 0) return quote + 1
    i = quote + 1
  }
}

export function skipSpace (text: string, at: number): number {
  let i = at
  for (;;) {
    const code = text.charCodeAt(i)
    if (code !== 32 && code !== 10 && code !== 13 && code !== 9) return i
    i++
  }
}

function isDelimiter (code: number): boolean {
  return code === 44 || code === CLOSE_BRACE || code === CLOSE_BRACKET || code === 32 || code === 10 || code === 13 || code === 9
}
