import { randomUUID } from 'node:crypto'
import type { TableOption } from 'fastify-oversync/client'
import { TABLES } from '../../common/local-tables.js'
import { addPost, readPost, removePost, setContent, setTitle } from '../app-data.js'
import type { Scenario } from '../scenario.js'

/** A rule, and what becomes of a post titled `mine` on the device that has it and `theirs` on the server. */
interface Rule {
  name: string
  conflict: NonNullable<TableOption['conflict']>
  /** Default: as `conflict`, or the server's side where that is a function. */
  deleted?: NonNullable<TableOption['deleted']>
  bothEdited: string
  editedHereDeletedThere: 'mine' | null
  deletedHereEditedThere: 'theirs' | null
}

const RULES: Rule[] = [
  { name: 'serverWins', conflict: 'serverWins', bothEdited: 'theirs', editedHereDeletedThere: null, deletedHereEditedThere: 'theirs' },
  { name: 'clientWins', conflict: 'clientWins', bothEdited: 'mine', editedHereDeletedThere: 'mine', deletedHereEditedThere: null },
  { name: 'editWins', conflict: 'serverWins', deleted: 'editWins', bothEdited: 'theirs', editedHereDeletedThere: 'mine', deletedHereEditedThere: 'theirs' },
  { name: 'deleteWins', conflict: 'clientWins', deleted: 'deleteWins', bothEdited: 'mine', editedHereDeletedThere: null, deletedHereEditedThere: null },
  { name: 'function that keeps', conflict: () => 'keep', bothEdited: 'mine', editedHereDeletedThere: null, deletedHereEditedThere: 'theirs' },
  { name: 'function that takes', conflict: () => 'take', deleted: 'clientWins', bothEdited: 'theirs', editedHereDeletedThere: 'mine', deletedHereEditedThere: null },
  { name: 'function that merges', conflict: ({ local, server }) => ({ title: `${String(server['title'])} and ${String(local['title'])}` }), bothEdited: 'theirs and mine', editedHereDeletedThere: null, deletedHereEditedThere: 'theirs' }
]

export const multiDeviceConflicts: Scenario = {
  name: 'multi-device-conflicts',
  about: 'Two devices change one row, in every combination and under every rule.',
  async play (world) {
    for (const { name, conflict, deleted, bothEdited, editedHereDeletedThere, deletedHereEditedThere } of RULES) {
      const client = { tables: TABLES.map(table => ({ table, conflict, ...(deleted === undefined ? {} : { deleted }) })) }
      const [first, second] = [world.device(`${name} first`, { client }), world.device(`${name} second`, { client })]
      const post = (title: string): string => addPost(first, title, null)
      const rows = { sameColumn: post('a'), otherColumns: post('b'), sameValue: post('c'), editDelete: post('d'), deleteEdit: post('e'), bothDelete: post('f'), bothMake: randomUUID() }
      await world.sync(first, second)

      const edit = (device: typeof first, title: string): void => {
        setTitle(device, rows.sameColumn, title)
        addPost(device, title, null, rows.bothMake)
        setTitle(device, rows.sameValue, 'agreed')
        removePost(device, rows.bothDelete)
      }
      edit(first, 'theirs')
      edit(second, 'mine')
      setTitle(first, rows.otherColumns, 'theirs')
      setContent(second, rows.otherColumns, 'mine')
      removePost(first, rows.editDelete)
      setTitle(second, rows.editDelete, 'mine')
      setTitle(first, rows.deleteEdit, 'theirs')
      removePost(second, rows.deleteEdit)
      await world.sync(first, second, first)

      for (const device of [first, second]) {
        const title = (id: string): string | null => readPost(device, id)?.title ?? null
        const on = `${name}, on the ${device === first ? 'first' : 'second'} device`
        world.equal(`${on}: one column edited on both`, title(rows.sameColumn), bothEdited)
        world.equal(`${on}: one key made on both`, title(rows.bothMake), bothEdited)
        world.equal(`${on}: different columns edited`, readPost(device, rows.otherColumns), { title: 'theirs', content: 'mine' })
        world.equal(`${on}: the same edit on both`, title(rows.sameValue), 'agreed')
        world.equal(`${on}: edited here, deleted there`, title(rows.editDelete), editedHereDeletedThere)
        world.equal(`${on}: deleted here, edited there`, title(rows.deleteEdit), deletedHereEditedThere)
        world.equal(`${on}: deleted on both`, title(rows.bothDelete), null)
      }
      const decided = [rows.sameColumn, rows.bothMake, rows.editDelete, rows.deleteEdit]
      world.equal(`${name}: each decision is on record, and no other`, second.sync.conflicts().map(({ key }) => key).sort(), decided.sort())
      world.equal(`${name}: the record keeps what was set aside`, second.sync.conflicts().filter(({ key }) => key === rows.sameColumn).map(({ before, mine, theirs, columns }) => [before?.['title'], mine?.['title'], theirs?.['title'], columns]), [['a', 'mine', 'theirs', ['title']]])
      world.equal(`${name}: the first device had nothing to decide`, first.sync.conflicts().length, 0)
    }
    await world.sync(...world.devices)
  }
}
