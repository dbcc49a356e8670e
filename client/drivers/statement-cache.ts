/** Prepared statements by their text; where there are too many, those that were not used for longest go first. */
export interface StatementCache<Statement> {
  get: (sql: string) => Statement
  clear: () => void
}

export function createStatementCache<Statement> (size: number, prepare: (sql: string) => Statement, release: (statement: Statement) => void = () => {}): StatementCache<Statement> {
  const statements = new Map<string, Statement>()
  return {
    get (sql) {
      let statement = statements.get(sql)
      if (statement === undefined) {
        statement = prepare(sql)
        if (statements.size >= size) {
          const [oldest, unused] = statements.entries().next().value as [string, Statement]
          statements.delete(oldest)
          release(unused)
        }
      } else {
        statements.delete(sql)
      }
      statements.set(sql, statement) // a Map keeps the order of setting: the youngest last
      return statement
    },
    clear () {
      for (const statement of statements.values()) release(statement)
      statements.clear()
    }
  }
}
