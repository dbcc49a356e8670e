/** How SQLite converts what is stored in a column: its rules for declared types, https://sqlite.org/datatype3.html section 3.1. */
export type Affinity = 'integer' | 'real' | 'numeric' | 'text' | 'none'

export function affinityOf (declared: string): Affinity {
  const type = declared.toUpperCase()
  if (type.includes('INT')) return 'integer'
  if (/CHAR|CLOB|TEXT/.test(type)) return 'text'
  if (type === '' || type.includes('BLOB')) return 'none'
  if (/REAL|FLOA|DOUB/.test(type)) return 'real'
  return 'numeric'
}
