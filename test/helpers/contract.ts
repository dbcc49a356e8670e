import fs from 'node:fs'
import type { Test } from 'tap'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { ERRORS } from '../../src/errors.js'

/** The part of a reply that is checked; what Fastify's inject() gives fits. */
export interface Reply {
  statusCode: number
  headers: Record<string, unknown>
  body: string
}

interface Parameter { in: string, name: string, required: boolean, schema: { type?: string } }

interface DocumentedReply {
  description: string
  content?: Record<string, { schema: object }>
  headers?: Record<string, { schema: object }>
}

const document = JSON.parse(fs.readFileSync(new URL('../../openapi/openapi.json', import.meta.url), 'utf8'))
const ajv = new Ajv2020({ strict: false, allErrors: true, coerceTypes: false })
addFormats.default(ajv)
ajv.addSchema(closed(document) as object, 'api')
// As published: a client may send more than the document names.
ajv.addSchema(document, 'open')

/** Of a path that is not there, or of a method that a path does not have, the document speaks in its description alone. */
const GENERAL_ERRORS: Record<number, string> = { 404: 'not_found', 405: 'method_not_allowed' }

/** What a reply has that openapi.json does not allow, one sentence each; empty when it keeps the contract. */
export function contractProblems (method: string, path: string, reply: Reply): string[] {
  const problems = reply.headers['cache-control'] === 'no-store' ? [] : ['Cache-Control: no-store is missing']
  const general = GENERAL_ERRORS[reply.statusCode]
  if (general !== undefined) return [...problems, ...generalProblems(general, reply)]
  const template = path.replace(/\?.*$/s, '')
  const verb = method.toLowerCase()
  const operation = document.paths[template]?.[verb]
  if (operation === undefined) return [`${method} ${template} is not in openapi.json`]
  const status = String(reply.statusCode)
  const documented: DocumentedReply | undefined = operation.responses[status]
  if (documented === undefined) return [`${method} ${template}: status ${status} is not in openapi.json`]
  const pointer = ['paths', template, verb, 'responses', status]
  problems.push(...headerProblems(documented, pointer, reply), ...bodyProblems(documented, pointer, reply))
  return problems.length > 0 || reply.statusCode < 400 ? problems : codeProblems(documented, reply)
}

/** Why openapi.json would not let a client send a request, one sentence each. `body` is the parse of a JSON body. */
export function requestProblems (method: string, url: string, body?: unknown): string[] {
  const [template, search = ''] = url.split('?', 2) as [string, string?]
  const verb = method.toLowerCase()
  const operation = document.paths[template]?.[verb]
  if (operation === undefined) return [`${method} ${template} is not in openapi.json`]
  const query = new URLSearchParams(search)
  const problems = ((operation.parameters ?? []) as Parameter[]).flatMap((parameter, i) => {
    const text = parameter.in === 'query' ? query.get(parameter.name) : null
    // Whatever is not "true" means false: the document shows the two words that mean something.
    if (text === null || parameter.schema.type === 'boolean') return []
    const value = parameter.schema.type === 'integer' && /^-?\d+$/.test(text) ? Number(text) : text
    return errorsOf(['paths', template, verb, 'parameters', String(i), 'schema'], value, 'open').map(error => `parameter ${parameter.name}${error}`)
  })
  if (operation.requestBody === undefined) return problems
  return [...problems, ...errorsOf(['paths', template, verb, 'requestBody', 'content', 'application/json', 'schema'], body, 'open').map(error => `body${error}`)]
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

function generalProblems (code: string, reply: Reply): string[] {
  const problems = reply.statusCode === 405 && !/^[A-Z]+(, [A-Z]+)*$/.test(String(reply.headers['allow'])) ? ['header Allow is missing'] : []
  if (!String(reply.headers['content-type']).startsWith('application/json')) problems.push('an error that is no JSON')
  let body: unknown
  try {
    body = JSON.parse(reply.body)
  } catch {
    return [...problems, 'the body is not JSON']
  }
  problems.push(...errorsOf(['components', 'schemas', 'ErrorResponse'], body).map(error => `body${error}`))
  if ((body as { error?: unknown }).error !== code) problems.push(`${reply.statusCode} with another code than ${code}`)
  return problems
}

/** The code belongs to the status, and the document says so for this very operation. */
function codeProblems ({ description }: DocumentedReply, reply: Reply): string[] {
  const { error } = JSON.parse(reply.body) as { error: keyof typeof ERRORS }
  if (ERRORS[error].status !== reply.statusCode) return [`${error} is not a code of ${reply.statusCode}`]
  return description.includes(`\`${error}\``) ? [] : [`${error} is not documented here`]
}

function errorsOf (pointer: string[], value: unknown, root = 'api'): string[] {
  const path = pointer.map(part => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'))).join('/')
  const validate = ajv.getSchema(`${root}#/${path}`) as ValidateFunction
  if (validate(value)) return []
  return (validate.errors ?? []).slice(0, 10).map(({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`)
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
