import { randomUUID } from 'node:crypto'
import type { App } from '../common/device.js'

/* What the simulated app does with its tables: plain SQL on its own connection. */

const NOW = 1_780_000_000

export function addUser ({ db }: App, name: string, id: string = randomUUID()): string {
  db.prepare('insert into users values (?, ?, ?, ?, ?)').run(id, name, `${name.toLowerCase().replaceAll(' ', '.')}@example.com`, NOW, NOW)
  return id
}

export function addPost ({ db }: App, title: string, author: string | null, id: string = randomUUID()): string {
  db.prepare('insert into posts values (?, ?, ?, ?, ?, ?)').run(id, title, null, author, NOW, NOW)
  return id
}

export function rename ({ db }: App, id: string, name: string): void {
  db.prepare('update users set name = ?, updated_at = updated_at + 1 where id = ?').run(name, id)
}

export function setTitle ({ db }: App, id: string, title: string): void {
  db.prepare('update posts set title = ? where id = ?').run(title, id)
}

export function setContent ({ db }: App, id: string, content: string): void {
  db.prepare('update posts set content = ? where id = ?').run(content, id)
}

export function removePost ({ db }: App, id: string): void {
  db.prepare('delete from posts where id = ?').run(id)
}

export function removeUser ({ db }: App, id: string): void {
  db.prepare('delete from users where id = ?').run(id)
}

export function names ({ db }: App): string[] {
  return db.prepare('select name from users order by name').pluck().all() as string[]
}

export function titles ({ db }: App): string[] {
  return db.prepare('select title from posts order by title').pluck().all() as string[]
}

/** A post's title and content; null where it is not there. */
export function readPost ({ db }: App, id: string): { title: string, content: string | null } | null {
  return db.prepare('select title, content from posts where id = ?').get(id) as { title: string, content: string | null } | undefined ?? null
}

/** Rows of users and posts, say. */
export function counts ({ db }: App, ...tables: string[]): number[] {
  return tables.map(table => db.prepare(`select count(*) from ${table}`).pluck().get() as number)
}
