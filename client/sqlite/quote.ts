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

/** A column's default, as the catalog has it, for use elsewhere. SQLite takes a name after DEFAULT, bare or quoted in whatever way, for a text; elsewhere it would be a column. */
export function defaultSql (sql: string): string {
  if (/^(?:null|true|false|current_(?:date|time|timestamp))$/i.test(sql)) return sql
  if (/^[a-z_\u0080-\uffff][\w$\u0080-\uffff]*$/i.test(sql)) return literal(sql)
  const quoted = /^(?:"((?:[^"]|"")*)"|`((?:[^`]|``)*)`|\[([^\]]*)\])$/.exec(sql)
  return quoted === null ? sql : literal(quoted[1]?.replaceAll('""', '"') ?? quoted[2]?.replaceAll('``', '`') ?? quoted[3] ?? '')
}
