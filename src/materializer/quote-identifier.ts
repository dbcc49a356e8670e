/** The one place where names become SQL. */
export function quoteIdentifier (name: string): string {
  return '"' + name.replaceAll('"', '""') + '"'
}

export function quoteTable (schema: string, table: string): string {
  return `${quoteIdentifier(schema)}.${quoteIdentifier(table)}`
}
