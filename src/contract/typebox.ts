import { Type, type Static, type TSchema, type TUnsafe } from '@sinclair/typebox'

/** A $ref to a named schema that keeps its static type, so that the document shows a component and TypeScript a shape. */
export function ref<T extends TSchema> (schema: T): TUnsafe<Static<T>> {
  return Type.Unsafe<Static<T>>(Type.Ref(schema.$id as string))
}

/** A string limited to the given values, written as one `enum` instead of TypeBox's `anyOf` of constants. */
export function stringEnum<const T extends readonly string[]> (values: T, options: { description: string, examples?: string[], default?: T[number] }) {
  return Type.Unsafe<T[number]>({ type: 'string', enum: [...values], ...options })
}

/** An integer that JavaScript holds exactly. */
export function safeInteger (options: { description: string, examples: number[], minimum?: number, default?: number }) {
  return Type.Integer({ format: 'int64', maximum: Number.MAX_SAFE_INTEGER, ...options })
}

/** Any JSON object. Not Type.Record: its check runs a pattern over every key. */
export function jsonObject (options: { description: string, examples: Array<Record<string, unknown>> }) {
  return Type.Unsafe<Record<string, unknown>>(Type.Object({}, { additionalProperties: true, ...options }))
}
