import { encodeRow, knownColumns, NULL_CELL, overlay, type Row } from '../sqlite/cell.js'
import { keyCells } from '../sqlite/key-text.js'
import type { TableInfo } from '../sqlite/table-info.js'
import { valueOf, type RowValues } from '../sqlite/values.js'
import { MAX_QUESTIONS, MAX_QUESTION_PASSES } from '../limits.js'
import { BadAnswer, readAnswer } from './read-answer.js'
import type { Conflict, Resolver } from './resolver.js'

/** A conflict that a resolver of the app has to settle. */
export interface Question {
  table: TableInfo
  key: string
  base: Row | null
  local: Row
  server: Row
  columns: string[]
  kind: Conflict<string, RowValues>['kind']
  resolver: Resolver
}

/** `open`: not asked yet, and the transaction will be rolled back and run again. `later`: one too many for this transaction. */
export type Decision = 'keep' | 'take' | { row: Row } | { problem: string } | 'open' | 'later'

/** Thrown to end a transaction that came upon questions: they are asked outside, and it runs again with the answers. */
export class Unanswered extends Error {}

/**
 * The app's own rules are functions, and what they do is not ours to know: they may write through the connection that the
 * client uses, commit, or take their time. So they never run inside a transaction of the client's. A transaction that needs
 * an answer collects its questions, is rolled back, and runs again when they are answered.
 */
export class Questions {
  readonly #answers = new Map<string, Exclude<Decision, 'open' | 'later'>>()
  #open = new Map<string, Question>()
  #passes = 0

  /** Whether the transaction must not be committed. */
  get areOpen (): boolean {
    return this.#open.size > 0
  }

  decide (question: Question): Decision {
    const name = nameOf(question)
    const answer = this.#answers.get(name)
    if (answer !== undefined) return answer
    if (this.#answers.size + this.#open.size >= MAX_QUESTIONS) return 'later'
    // Other questions come up each time: the resolver changes the very row that it is asked about.
    if (this.#passes >= MAX_QUESTION_PASSES) return { problem: 'The row kept changing while its resolver was asked.' }
    this.#open.set(name, question)
    return 'open'
  }

  /** Asks what was collected. Call it outside every transaction. */
  ask (): void {
    this.#passes++
    const open = this.#open
    this.#open = new Map()
    for (const [name, question] of open) this.#answers.set(name, answer(question))
  }
}

/** What the answer depends on: after a local edit meanwhile it is another question. */
function nameOf ({ table, key, base, local, server }: Question): string {
  return JSON.stringify([table.name, key, base === null ? null : encodeRow(base), encodeRow(local), encodeRow(server)])
}

function answer ({ table, key, base: image, local, server, columns, kind, resolver }: Question): 'keep' | 'take' | { row: Row } | { problem: string } {
  const base = image === null ? null : overlay(knownColumns(image), keyCells(table, key))
  try {
    const answer: unknown = resolver({ table: table.name, key, base: base === null ? null : shown(table, base), local: shown(table, local), server: shown(table, server), columns: [...columns], kind })
    if (answer === 'keep' || answer === 'take') return answer
    silence(answer)
    return { row: readAnswer(table, keyCells(table, key), answer, [server, local, base]) }
  } catch (error) {
    return { problem: error instanceof BadAnswer ? error.message : `The resolver of table ${table.name} threw: ${messageOf(error)}` }
  }
}

/** Every column of the table; what a row does not say counts as NULL. */
function shown (table: TableInfo, row: Row): RowValues {
  return Object.fromEntries(table.columns.map(({ name }) => [name, valueOf(row.get(name) ?? NULL_CELL)]))
}

/** A promise is no answer; that it fails later must not end the process. */
function silence (answer: unknown): void {
  if (answer instanceof Promise) answer.catch(() => {})
}

function messageOf (error: unknown): string {
  try {
    return error instanceof Error ? error.message : String(error)
  } catch {
    return 'something that has no message'
  }
}
