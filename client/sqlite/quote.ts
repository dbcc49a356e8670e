/** The only place where a name becomes SQL. */
export function identifier (name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** A table of the app in a statement. A temporary table of the same name on this connection would hide it otherwise. */
export function tableSql (table: { localName: string }): string {
  return `main.${identifier(table.localName)}`
}

/** A text as an SQL literal. Only for trigger text, which cannot have parameters; elsewhere values are bound. */
export function literal (text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
