import type { CompiledQuery, Kysely, RawBuilder } from 'kysely'
import type { Metadata } from './metadata.js'
import { withTraits, type StatementTraits } from './statement-traits.js'

/** A statement whose text is made once, and the names of its parameters in their order. */
export interface Compiled<Row> {
  query: CompiledQuery<Row>
  names: string[]
}

/** Every parameter of `statement` is given as the name of its value. */
export function compile<Row> (db: Kysely<any>, statement: RawBuilder<unknown>): Compiled<Row> {
  const query = statement.compile(db) as CompiledQuery<Row>
  return { query, names: query.parameters as string[] }
}

/** The statement with values for its parameters. Of one text for all requests, it may have a name. */
export function fill<Row> ({ query, names }: Compiled<Row>, values: Record<string, unknown>, traits: StatementTraits = {}): CompiledQuery<Row> {
  return withTraits({ ...query, parameters: names.map(name => values[name]) }, { named: true, ...traits })
}

/** A statement that every request runs: its text is made once for a schema of metadata. */
export function once<Row, Values extends Record<string, unknown>> (make: (metadata: Metadata) => RawBuilder<unknown>): (db: Kysely<any>, metadata: Metadata, values: Values) => CompiledQuery<Row> {
  const known = new WeakMap<Metadata, Compiled<Row>>()
  return (db, metadata, values) => {
    const compiled = known.get(metadata) ?? compile<Row>(db, make(metadata))
    known.set(metadata, compiled)
    return fill(compiled, values)
  }
}
