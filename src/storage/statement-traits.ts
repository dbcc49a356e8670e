import type { CompiledQuery } from 'kysely'

/** What the dialect of our own is told of a statement. To the dialect of an app's Kysely it is a statement like others. */
export interface StatementTraits {
  /**
   * One of the app's own code. The plugin's parameters are texts, numbers, booleans and nulls that PostgreSQL reads as they
   * are; what the app gives, dates, arrays and objects among it, becomes text by the types that the server describes.
   */
  foreign?: boolean
  /**
   * Of one text for all requests, and with a plan that does not depend on what is in the tables: where the option
   * `preparedStatements` allows it, a session parses and plans it once.
   */
  named?: boolean
  /** The column whose text is wanted as bytes, as it came from the socket. All columns of the statement must be texts. */
  bytesOf?: string
}

const TRAITS = new WeakMap<CompiledQuery, StatementTraits>()

export function withTraits<Row> (query: CompiledQuery<Row>, traits: StatementTraits): CompiledQuery<Row> {
  const copy = { ...query }
  TRAITS.set(copy, traits)
  return copy
}

export function traitsOf (query: CompiledQuery): StatementTraits {
  return TRAITS.get(query) ?? {}
}
