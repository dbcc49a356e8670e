import { GROUPS, tokensOf, type GroupName, type Values } from './certificate.js'
import type { SimDevice } from './device.js'
import type { StreamModel } from './stream-model.js'
import { insist } from './violation.js'

/**
 * Where every token of a user's devices has gone. A token that an edit committed is owed: until the stream has it, a record
 * of a decision has it, or the user took it back, its device must show it (P13, P18).
 */
export class Ledger {
  readonly #owed = new Map<string, SimDevice>()
  /** Tokens of rows that some rule decided about, and those that the user gave up. */
  readonly #accounted = new Set<string>()
  readonly #decided = new Set<string>()
  readonly #readConflicts = new Map<SimDevice, number>()

  wasDecided (table: string, key: string): boolean { return this.#decided.has(`${table} ${key}`) }

  /** What one local transaction made of the device's rows. */
  noteEdit (device: SimDevice, before: Map<string, Values>, after: Map<string, Values>): void {
    const [old, now] = [allTokens(before.values()), allTokens(after.values())]
    for (const token of now) if (!old.has(token)) this.#owed.set(token, device)
    for (const token of old) if (!now.has(token)) this.#owed.delete(token)
  }

  /** The user takes the server's row, and with it back what they wrote. */
  noteDiscard (values: Values | undefined): void {
    if (values !== undefined) for (const token of allTokens([values])) this.#accounted.add(token)
  }

  /** The file is an older one now: what was written since is gone with the newer. */
  noteRestore (device: SimDevice): void {
    const left = allTokens(device.content().values())
    for (const [token, owner] of this.#owed) if (owner === device && !left.has(token)) this.#owed.delete(token)
    this.#readConflicts.set(device, 0)
  }

  /** Takes note of the decisions that the device has on record. */
  readDecisions (device: SimDevice): number {
    const after = this.#readConflicts.get(device) ?? 0
    const rows = device.all<{ id: number, tbl: string, key: string, texts: string }>(
      "select id, tbl, key, coalesce(before, '') || coalesce(mine, '') || coalesce(theirs, '') || coalesce(result, '') as texts from _sync_conflict where id > ?", after)
    for (const { id, tbl, key, texts } of rows) {
      this.#decided.add(`${tbl} ${key}`)
      for (const [token] of texts.matchAll(/[A-Z]\d+\.\d+\.\d+[!?]?/g)) this.#accounted.add(token)
      this.#readConflicts.set(device, id)
    }
    return rows.length
  }

  check (device: SimDevice, stream: StreamModel): void {
    let shown: Set<string> | undefined
    for (const [token, owner] of this.#owed) {
      if (owner !== device) continue
      if (stream.tokens.has(token) || this.#accounted.has(token)) {
        this.#owed.delete(token)
        continue
      }
      shown ??= allTokens(device.content().values())
      insist(shown.has(token), 'P13', () => `${device.name} lost its own edit ${token}: no row, no entry of the stream and no record has it`)
    }
  }

  /** Nothing is left to be sent. */
  checkAll (devices: readonly SimDevice[], stream: StreamModel): void {
    for (const device of devices) this.check(device, stream)
    insist(this.#owed.size === 0, 'P18', () => `never sent, never decided about: ${[...this.#owed.keys()].join(', ')}`)
  }
}

function allTokens (rows: Iterable<Values>): Set<string> {
  const tokens = new Set<string>()
  for (const values of rows) for (const group of Object.keys(GROUPS) as GroupName[]) for (const token of tokensOf(values, group) ?? []) tokens.add(token)
  return tokens
}
