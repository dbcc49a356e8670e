import type { Test } from 'tap'
import { createDevice, type Device, type DeviceOptions } from './device.js'
import { FakeServer } from './fake-server.js'

/* A table of notes whose column `old` a later version of the app drops. */

export const NOTES = 'create table notes (id text primary key, title text, n integer, old text)'
export const ROWS = "insert into notes values ('a', 'one', 1, 'x'), ('b', 'two', 2, 'y'), ('c', 'three', 3, null)"

/** A device with three notes, in step with its server. */
export async function notesInStep (t: Test, options: DeviceOptions = {}): Promise<{ server: FakeServer, device: Device }> {
  const server = new FakeServer()
  const device = createDevice(t, { server, sql: NOTES, tables: ['notes'], ...options })
  device.db.exec(ROWS)
  await device.client.syncOnce()
  t.same(device.pending(), [])
  return { server, device }
}

export async function dropOld ({ client, db }: Device): Promise<void> {
  await client.migrate(() => { db.exec('alter table notes drop column old') })
}

export async function dropNotes ({ client, db }: Device): Promise<void> {
  await client.migrate(() => { db.exec('drop table notes; create table memos (id text primary key)') }, { tables: ['memos'] })
}

/** Requests with this text are applied, and their replies lost. */
export function loseReplies (server: FakeServer, text: string): void {
  server.onRequest = ({ body }, answer) => {
    const response = answer()
    if (body?.includes(text) === true) throw new TypeError('fetch failed')
    return response
  }
}

/** Requests with this text never arrive. */
export function loseRequests (server: FakeServer, text: string): void {
  server.onRequest = ({ body }, answer) => {
    if (body?.includes(text) === true) throw new TypeError('fetch failed')
    return answer()
  }
}

/** Uploads work, downloads do not. */
export function loseDownloads (server: FakeServer): void {
  server.onRequest = ({ path }, answer) => {
    if (path === '/download') throw new TypeError('fetch failed')
    return answer()
  }
}

export function loseNothing (server: FakeServer): void {
  server.onRequest = (_, answer) => answer()
}

/** An upload that comes to nothing by `lose`, of requests with this text. Everything arrives again afterwards. */
export async function uploadUnheard (t: Test, { server, device }: { server: FakeServer, device: Device }, lose: typeof loseReplies, text: string): Promise<void> {
  lose(server, text)
  await t.rejects(device.client.uploadOnce(), { code: 'network' })
  loseNothing(server)
}

/** A device whose `old` was on its way and edited once more when it was dropped. */
export async function oldOnItsWay (t: Test): Promise<{ server: FakeServer, device: Device }> {
  const world = await notesInStep(t)
  const { device } = world
  device.db.exec("update notes set old = 'on its way' where id = 'a'")
  await uploadUnheard(t, world, loseRequests, 'on its way')
  device.db.exec("update notes set old = 'newer' where id = 'a'")
  await dropOld(device)
  return world
}
