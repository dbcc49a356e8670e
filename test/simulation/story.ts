import type { GroupName } from './certificate.js'
import { Chance } from './random.js'
import { REFUSED_BY_DATABASE, REFUSED_BY_HOOK } from './tables.js'

/*
 * A story is data: everything that will happen is written down before it begins, and no step's choices depend on another
 * step. So a story can be printed, kept, and made shorter by leaving steps out.
 */

/** What becomes of a request. The last three happen between server and database. */
export type Fate = 'deliver' | 'lose request' | 'lose reply' | 'twice' | 'twice at once' | 'hold back' | 'commit lost' | 'commit cut' | 'statement cut'

export interface Statement {
  table: string
  op: 'insert' | 'replace' | 'upsert' | 'append' | 'delete' | 'move' | 'loose'
  /** Number of the row among the story's few keys of the table; `to` that of the new key, or of the parent. */
  key: number
  to: number
  groups: GroupName[]
  token: string
  /** Of another user: the row's key belongs to them. */
  foreign?: true
}

export interface Edit { statements: Statement[], rollsBack?: true }

export type Call = 'syncOnce' | 'uploadOnce' | 'downloadOnce' | 'hydrate' | 'rebuild'

export type Step =
  | { do: 'edit', device: number, edit: Edit }
  | { do: 'call', device: number, call: Call, fates: Fate[], servers: number, crashAt?: number, cutAt: number, during: Record<number, Edit> }
  /** The upload of one device stands still inside its transaction while another's begins on the other server, and a third, where there is one, reads. */
  | { do: 'overlap', device: number, other: number, at: number, edits: [Edit, Edit] }
  /** A request that was held back arrives at last. */
  | { do: 'arrive', which: number, server: number }
  | { do: 'restart', device: number }
  | { do: 'back up', device: number }
  | { do: 'restore', device: number }
  | { do: 'clone', device: number }
  | { do: 'upgrade', device: number, how: 'before opening' | 'migrate' }
  | { do: 'rest' }

export interface DevicePlan { user: number, batchSize: number, pageSize: number, isOld: boolean }

export interface Story { seed: number, tables: string[], devices: DevicePlan[], steps: Step[] }

const FATES: Record<Fate, number> = {
  deliver: 60, 'lose request': 4, 'lose reply': 8, twice: 5, 'twice at once': 4, 'hold back': 5, 'commit lost': 5, 'commit cut': 4, 'statement cut': 5
}
/** Devices of a story, clones among them. */
export const MAX_DEVICES = 5

export function makeStory (seed: number): Story {
  const chance = new Chance(seed)
  const tables = chance.pick(TABLE_SETS)
  const devices = plans(chance)
  // Stories are of different temper: many faults or none, copies of files or none.
  const temper: Temper = { faults: chance.pick([0, 0.3, 1]), crashes: chance.pick([0, 0, 0.15, 0.4]), copies: chance.pick([0, 0, 0.1]), refusals: chance.pick([0, 0, 0.1]), keys: chance.pick([1, 2, 2, 3]), tables }
  const steps: Step[] = []
  const length = 10 + chance.below(20)
  let copies = 0
  for (let i = 0; i < length; i++) {
    const device = chance.below(Math.min(MAX_DEVICES, devices.length + copies))
    let edits = 0
    const edit = (): Edit => makeEdit(chance, temper, `${letter(device)}${i}.${edits++}`)
    const luck = chance.next()
    if (luck < 0.4) steps.push({ do: 'edit', device, edit: edit() })
    else if (luck < 0.8) steps.push(makeCall(chance, temper, device, edit))
    else if (luck < 0.84) steps.push({ do: 'overlap', device, other: chance.below(4), at: 3 + chance.below(12), edits: [edit(), makeEdit(chance, temper, `${letter(device + 1)}${i}.0`)] })
    else if (luck < 0.89) steps.push({ do: 'arrive', which: chance.below(8), server: chance.below(2) })
    else if (luck < 0.92) steps.push({ do: 'restart', device })
    else if (luck < 0.95) steps.push({ do: 'upgrade', device, how: chance.pick(['before opening', 'migrate']) })
    else if (luck < 0.96) steps.push({ do: 'rest' })
    else steps.push({ do: 'edit', device, edit: edit() })
    if (!chance.chance(temper.copies)) continue
    const kind = chance.pick(['back up', 'back up', 'restore', 'restore', 'clone'] as const)
    if (kind === 'clone') copies++
    steps.push({ do: kind, device })
  }
  if (temper.copies > 0) insertRestore(chance, steps, devices.length)
  return { seed, tables, devices, steps }
}

/** A file is put back that is some steps old. */
function insertRestore (chance: Chance, steps: Step[], devices: number): void {
  const device = chance.below(devices)
  const at = chance.below(steps.length)
  steps.splice(at, 0, { do: 'back up', device })
  steps.splice(at + 2 + chance.below(steps.length - at - 1), 0, { do: 'restore', device })
}

function letter (device: number): string { return String.fromCharCode(65 + device) }

function plans (chance: Chance): DevicePlan[] {
  const plan = (user: number): DevicePlan => ({ user, batchSize: chance.pick([1, 2, 3, 100, 100]), pageSize: chance.pick([1, 3, 100, 100, 100]), isOld: chance.chance(0.25) })
  const own = Array.from({ length: 2 + chance.below(2) }, () => plan(0))
  return chance.chance(0.25) ? [...own, plan(1)] : own
}

interface Temper { faults: number, crashes: number, copies: number, refusals: number, keys: number, tables: string[] }

function makeCall (chance: Chance, temper: Temper, device: number, edit: () => Edit): Step {
  const call = chance.weighted<Call>({ syncOnce: 6, uploadOnce: 3, downloadOnce: 3, hydrate: 0.3, rebuild: 0.2 })
  const fates = Array.from({ length: 6 }, () => chance.chance(temper.faults) ? chance.weighted(FATES) : 'deliver')
  while (fates.at(-1) === 'deliver') fates.pop()
  const crashAt = chance.chance(temper.crashes) ? 1 + Math.floor(4 ** (chance.next() * 4.2)) : undefined
  const during: Record<number, Edit> = chance.chance(0.3) ? { [chance.below(4)]: edit() } : {}
  return { do: 'call', device, call, fates, servers: chance.below(64), ...(crashAt === undefined ? {} : { crashAt }), cutAt: 1 + chance.below(16), during }
}

/** A few tables a story: its devices meet on the same rows more often, and files are quicker to open. */
const TABLE_SETS = [['authors', 'posts'], ['authors', 'posts'], ['authors', 'items'], ['authors', 'items'], ['authors', 'posts', 'items'], ['notes'], ['notes', 'slots'], ['authors', 'posts', 'items', 'notes', 'slots']]
const OPS: Record<Statement['op'], number> = { insert: 0.5, replace: 1.5, upsert: 3, append: 6, delete: 2.2, move: 0.7, loose: 1.5 }

function makeEdit (chance: Chance, temper: Temper, stem: string): Edit {
  const statements = Array.from({ length: 1 + chance.below(3) }, (_, n): Statement => {
    const table = chance.pick(temper.tables)
    const refusal = chance.chance(temper.refusals) ? table === 'notes' ? REFUSED_BY_HOOK : REFUSED_BY_DATABASE : ''
    return {
      table,
      op: chance.weighted(OPS),
      key: 1 + chance.below(temper.keys),
      to: 1 + chance.below(temper.keys),
      groups: chance.pick<GroupName[]>([['a'], ['b'], ['a', 'b'], ['a', 'b', 'c'], ['c']]),
      token: `${stem}.${n}${refusal}`,
      ...(chance.chance(0.03) ? { foreign: true } : {})
    }
  })
  return { statements, ...(chance.chance(0.05) ? { rollsBack: true } : {}) }
}
