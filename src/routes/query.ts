import type { TSchema } from '@sinclair/typebox'

interface ParameterSchema { type?: string, minimum?: number, maximum?: number, pattern?: string }

/**
 * A validator of query strings that coerces nothing beyond the contract: an integer is decimal digits and nothing else
 * (`1e3`, `0x10` and `+7` are none), a boolean is true only as the text `true`, and a parameter given twice is refused.
 * Parameters that the contract does not name are ignored.
 */
export function parseQuery (schema: TSchema): (query: unknown) => { value: unknown } | { error: Error } {
  const properties = Object.entries(schema['properties'] as Record<string, ParameterSchema>)
  return query => {
    const given = query as Record<string, unknown>
    const value: Record<string, string | number | boolean> = {}
    for (const [name, parameter] of properties) {
      const text = given[name]
      if (text === undefined) continue
      if (typeof text !== 'string') return { error: new Error(`Parameter "${name}" must be given once.`) }
      if (parameter.type === 'boolean') {
        value[name] = text === 'true'
      } else if (parameter.type === 'integer') {
        const { minimum = 0, maximum = Number.MAX_SAFE_INTEGER } = parameter
        const number = /^\d{1,16}$/.test(text) ? Number(text) : NaN
        if (!(number >= minimum && number <= maximum)) return { error: new Error(`Parameter "${name}" must be an integer from ${minimum} to ${maximum}.`) }
        value[name] = number
      } else {
        if (parameter.pattern !== undefined && !new RegExp(parameter.pattern).test(text)) return { error: new Error(`Parameter "${name}" must match ${parameter.pattern}.`) }
        value[name] = text
      }
    }
    return { value }
  }
}
