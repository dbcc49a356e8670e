import { sql } from 'kysely'
import type { Database } from './database.js'

/** Names of the metadata tables in the schema that the app chose, for statements that Kysely's builder has no words for. */
export class Metadata {
  readonly schema: string

  constructor (schema: string) {
    this.schema = schema
  }

  table (name: keyof Database) {
    return sql.table(`${this.schema}.${name}`)
  }
}
