import type { Sql } from 'postgres'
import { sendBy, setApart, type PoolConnection } from './postgres-js-internals.js'

/**
 * A connection of the pool for one transaction. postgres.js' own `begin` lets nothing out before PostgreSQL has answered BEGIN;
 * here what comes next goes out with it. As with its own, the pool has the connection back when the session is idle again,
 * after COMMIT or ROLLBACK.
 */
export class TakenConnection {
  readonly #client: Sql
  readonly #onLost: (error: unknown) => void
  readonly #onAnswered = (): void => { this.#sendWaiting() }
  #connection: PoolConnection | null = null
  /** Statements that wait until the answers to those before them are there, in their order. */
  readonly #waiting: object[] = []
  #isBusy = false
  #isGone = false
  #isGivenUp = false

  /** `onLost` is told when the connection is gone, or BEGIN was refused: nothing more is sent then. */
  constructor (client: Sql, onLost: (error: unknown) => void) {
    this.#client = client
    this.#onLost = onLost
  }

  /** Sends BEGIN as soon as a connection is free; resolves then. */
  async begin (options: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const fail = (error: unknown): void => {
        this.#lose(error)
        reject(error)
      }
      const onexecute = (connection: PoolConnection): boolean => {
        if (this.#isGivenUp) return true
        this.#take(connection)
        this.#own(`begin ${options}`, fail)
        resolve()
        return false // nobody else's statements behind it
      }
      // It is an empty statement that finds the connection: where many of the app's own are under way on it, postgres.js does
      // not tell who got it, and a BEGIN would be the app's.
      const ask = (): void => {
        this.#client.unsafe('', [], { onexecute } as object).then(() => {
          if (this.#connection === null && !this.#isGivenUp) ask()
        }, fail)
      }
      ask()
    })
  }

  /** Makes a statement of the pool's one of this connection, to be sent when it is awaited, or when its turn comes. */
  bind (statement: object): void {
    sendBy(statement, query => {
      if (this.#isGone) return
      this.#waiting.push(query)
      if (!this.#isBusy) this.#sendWaiting()
    })
  }

  /** Nobody waits for the transaction any more: it is rolled back when the connection answers, and nothing else of it is sent. */
  giveUp (): void {
    this.#isGivenUp = true
    if (this.#connection === null || this.#isGone) return
    this.#waiting.length = 0
    this.#own('rollback', () => {})
  }

  #take (connection: PoolConnection): void {
    this.#connection = connection
    setApart(connection)
    connection.reserved = this.#onAnswered
    connection.onclose = error => { this.#lose(error) }
  }

  /** Sends a statement that belongs to the connection itself. */
  #own (text: string, fail: (error: unknown) => void): void {
    const statement = this.#client.unsafe(text)
    this.bind(statement)
    statement.catch(fail)
  }

  /** Statements go out until one says that none may follow before its answer. */
  #sendWaiting (): void {
    this.#isBusy = false
    while (!this.#isBusy && this.#waiting.length > 0) this.#send(this.#waiting.shift() as object)
  }

  #send (query: object): void {
    const connection = this.#connection as PoolConnection
    if (connection.reserved !== this.#onAnswered) {
      this.#lose(new Error('Something has ended the transaction: its connection is the pool\'s again.'))
      return
    }
    this.#isBusy = !connection.execute(query)
  }

  #lose (error: unknown): void {
    if (this.#isGone) return
    this.#isGone = true
    this.#waiting.length = 0
    this.#onLost(error)
  }
}
