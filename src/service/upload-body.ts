import { TypeCompiler } from '@sinclair/typebox/compiler'
import { UploadChangeSchema, type UploadChange } from '../contract/upload-change.js'
import { UploadRequestSchema, type UploadRequest } from '../contract/upload-request.js'
import { SyncError } from '../errors.js'
import { MAX_JSON_CONTAINERS, MAX_PAYLOAD_KEYS } from '../limits.js'
import { eachElement, eachMember, endOfValue, hasMoreContainers, skipSpace, type Member } from './json-text.js'

/** The text of one payload and of its members. */
export interface PayloadText {
  text: string
  /** Members of the outermost object, in the order sent, positions relative to `text`. A key given twice is in it twice; those beyond the limit are left out. */
  members: Member[]
}

/** An upload request, checked for JSON types, and for each of its changes the payload as sent. */
export interface UploadBody {
  /** All of it but the changes. */
  request: Omit<UploadRequest, 'changes'>
  changes: UploadChange[]
  /** By position in `changes`; null where the payload is absent or null. */
  payloads: Array<PayloadText | null>
  /** Texts of the source_change_ids that JavaScript cannot hold, by position: the reply must give them back as they came. */
  largeIds: ReadonlyMap<number, string>
}

const check = TypeCompiler.Compile(UploadRequestSchema, [UploadChangeSchema])
const checkChange = TypeCompiler.Compile(UploadChangeSchema)

/** Reads the text of an upload request. Throws `invalid_request` where it is no JSON or a field has another JSON type than the contract says, `body_too_large` where its parse would fill the memory. */
export function parseUploadBody (text: string): UploadBody {
  if (hasMoreContainers(text, MAX_JSON_CONTAINERS)) throw new SyncError('body_too_large', `The body has more than ${MAX_JSON_CONTAINERS} objects and arrays.`)
  let request: unknown
  try {
    // On its way to the database half of a surrogate pair would become another character.
    if (!text.isWellFormed()) throw new SyntaxError('half of a surrogate pair')
    // JSON.parse makes __proto__ a key like any other, and nothing here copies keys into objects. To refuse it would refuse
    // a whole batch for a word in somebody's document.
    request = JSON.parse(text)
  } catch (cause) {
    throw new SyncError('invalid_request', 'The body is not valid JSON.', { cause })
  }
  if (!check.Check(request)) {
    const first = firstFault(request)
    throw new SyncError('invalid_request', `The body does not match the contract${first === undefined ? '' : ` at ${first.path === '' ? '/' : first.path}: ${first.message}`}.`)
  }
  const { changes: sent, last_server_seq_seen: seen, epoch, schema_version: version, next_source_change_id: next } = request
  const changes = sent ?? []
  // What nobody reads is not kept.
  const known = { ...(seen === undefined ? {} : { last_server_seq_seen: seen }), ...(epoch === undefined ? {} : { epoch }), ...(version === undefined ? {} : { schema_version: version }), ...(next === undefined ? {} : { next_source_change_id: next }) }
  return { request: known, changes, ...(changes.length === 0 ? { payloads: [], largeIds: new Map() } : findPayloads(text, changes)) }
}

/** The first thing that does not match; inside the change that it belongs to, not just "somewhere in changes". */
function firstFault (request: unknown): { path: string, message: string } | undefined {
  const changes = (request as { changes?: unknown } | null)?.changes
  if (Array.isArray(changes)) {
    const index = changes.findIndex(change => !checkChange.Check(change))
    const fault = index < 0 ? undefined : checkChange.Errors(changes[index]).First()
    if (fault !== undefined) return { path: `/changes/${index}${fault.path}`, message: fault.message }
  }
  return check.Errors(request).First()
}

/** Where a key is given twice in the request or in a change the last one counts, as for JSON.parse. */
function findPayloads (text: string, changes: UploadChange[]): Pick<UploadBody, 'payloads' | 'largeIds'> {
  let payloads: Array<PayloadText | null> = []
  const largeIds = new Map<number, string>()
  /** Of the change that is looked at: its payload, where that begins, and its members so far. */
  let payload: PayloadText | null = null
  let begin = 0
  let members: Member[] = []
  const [fieldKeys, payloadKeys]: [string[], string[]] = [[], []]

  eachMember(text, skipSpace(text, 0), (key, start) => {
    if (key !== 'changes' || text[start] !== '[') return endOfValue(text, start)
    payloads = []
    largeIds.clear()
    return eachElement(text, start, visitChange)
  })
  if (payloads.length !== changes.length) throw new Error('The scan of the body disagrees with its parse.')
  return { payloads, largeIds }

  function visitChange (start: number): number {
    payload = null
    const end = eachMember(text, start, visitField, fieldKeys)
    payloads.push(payload)
    return end
  }

  function visitField (field: string, start: number): number {
    if (field === 'source_change_id' && !Number.isSafeInteger(changes[payloads.length]?.source_change_id)) largeIds.set(payloads.length, text.slice(start, endOfValue(text, start)))
    if (field !== 'payload') return endOfValue(text, start)
    payload = null
    if (text[start] !== '{') return endOfValue(text, start)
    begin = start
    members = []
    const end = eachMember(text, start, visitMember, payloadKeys)
    payload = { text: text.slice(start, end), members }
    return end
  }

  function visitMember (key: string, start: number): number {
    const end = endOfValue(text, start)
    // One more than allowed is enough to refuse them all.
    if (members.length <= MAX_PAYLOAD_KEYS) members.push({ key, start: start - begin, end: end - begin })
    return end
  }
}
