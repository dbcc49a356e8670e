import fs from 'node:fs'
import type { Test } from 'tap'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'

/** The part of a reply that is checked; what Fastify's inject() gives fits. */
export interface Reply {
  statusCode: number
  headers: Record<string, unknown>
  body: string
}

interface DocumentedReply {
  content?: Record<string, { schema: object }>
  headers?: Record<string, { schema: object }>
}

const document = JSON.parse(fs.readFileSync(new URL('../../openapi/openapi.json', import.meta.url), 'utf8'))
const ajv = new Ajv2020({ strict: false, allErrors: true, coerceTypes: false })
addFormats.default(ajv)
ajv.addSchema(closed(document) as object, 'api')

/** What a reply has that openapi.json does not allow, one sentence each; empty when it keeps the contract. */
export function contractProblems (method: string, path: string, reply: Reply): string[] {
  const template = path.replace(/\?.*$/s, '')
  const verb = method.toLowerCase()
  const operation = document.paths[template]?.[verb]
  if (operation === undefined) return [`${method} ${template} is not in openapi.json`]
  const status = String(reply.statusCode)
  const documented: DocumentedReply | undefined = operation.responses[status]
  if (documented === undefined) return [`${method} ${template}: status ${status} is not in openapi.json`]
  const pointer = ['paths', template, verb, 'responses', status]
  return [...headerProblems(documented, pointer, reply), ...bodyProblems(documented, pointer, reply)]
}

/** Fails the test with the list of problems where a reply breaks the contract. */
export function assertContract (t: Test, method: string, path: string, reply: Reply): void {
  t.strictSame(contractProblems(method, path, reply), [], `${method} ${path} ${reply.statusCode} keeps the contract`)
}

/** A documented header must be there: the document has no optional ones. */
function headerProblems (documented: DocumentedReply, pointer: string[], reply: Reply): string[] {
  return Object.entries(documented.headers ?? {}).flatMap(([name, { schema }]) => {
    const text = reply.headers[name.toLowerCase()]
    if (text === undefined) return [`header ${name} is missing`]
    const isNumber = 'type' in schema && (schema.type === 'integer' || schema.type === 'number')
    return errorsOf([...pointer, 'headers', name, 'schema'], isNumber ? Number(text) : text).map(error => `header ${name}${error}`)
  })
}

function bodyProblems (documented: DocumentedReply, pointer: string[], reply: Reply): string[] {
  if (documented.content === undefined) return reply.body === '' ? [] : ['a body where openapi.json has none']
  const type = String(reply.headers['content-type'] ?? '').split(';')[0] as string
  if (documented.content[type] === undefined) return [`content type "${type}" is not in openapi.json`]
  let body: unknown
  try {
    body = JSON.parse(reply.body)
  } catch {
    return ['the body is not JSON']
  }
  return errorsOf([...pointer, 'content', type, 'schema'], body).map(error => `body${error}`)
}

function errorsOf (pointer: string[], value: unknown): string[] {
  const path = pointer.map(part => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'))).join('/')
  const validate = ajv.getSchema(`api#/${path}`) as ValidateFunction
  if (validate(value)) return []
  return (validate.errors ?? []).map(({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`)
}

/**
 * The document with every object closed that lists its fields. Clients must accept fields they do not know, so the
 * published document leaves objects open; a field that the server sends and the document does not name is still a fault.
 */
function closed (node: unknown): unknown {
  if (Array.isArray(node)) return node.map(closed)
  if (node === null || typeof node !== 'object') return node
  const copy = Object.fromEntries(Object.entries(node).map(([key, value]) => [key, key === 'examples' || key === 'example' ? value : closed(value)]))
  const isObjectSchema = copy['type'] === 'object' && copy['properties'] !== undefined && Object.keys(copy['properties'] as object).length > 0
  return isObjectSchema && copy['additionalProperties'] === undefined ? { ...copy, additionalProperties: false } : copy
}
