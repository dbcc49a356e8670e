// Writes openapi/openapi.json, openapi/openapi.yaml and client/generated/api.ts from the contract in src/contract.
// With --check it writes nothing, fails where one of the three is stale, and then lints the document.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { fileURLToPath } from 'node:url'
import Fastify from 'fastify'
import swagger from '@fastify/swagger'
import openapiTypescript, { astToString, type OpenAPI3 } from 'openapi-typescript'
import { stringify } from 'yaml'
import { MAX_BODY_BYTES } from '../src/limits.js'
import { adminRoutes } from '../src/routes/admin-routes.js'
import { syncRoutes } from '../src/routes/routes.js'

const root = new URL('../', import.meta.url)

const DESCRIPTION = `Two-way sync between the SQLite databases of devices and one PostgreSQL.

A device queues its local changes and sends them in batches by \`POST /upload\`; every change gets a verdict of its own:
\`applied\`, \`conflict\` (with the row as the server holds it) or \`invalid\` (with a reason).
Accepted changes form one stream for each user, which a device reads by \`GET /download\` in pages: the first page fixes
an upper bound (\`window_until\`), and when the pages up to it are applied as one, the device shows a consistent state.
A change names the version of the row that its author saw (\`server_version\`, the base; 0 for "no such row") and is
applied only on that version, so nobody's edit is overwritten unseen.
The pair of device and \`source_change_id\` makes a change idempotent: a request whose reply was lost is sent again as it
is, and nothing is applied twice.
Who calls is known from the app's own sign-in (typically \`Authorization: Bearer …\`), never from the body or the query.

Every error has the form of \`ErrorResponse\`. Beside those that each operation lists, a path under the prefix that is not
there is answered 404 \`not_found\`, and a method that a path does not have 405 \`method_not_allowed\` with the header
\`Allow\`; GET paths answer HEAD too. What is no HTTP, and a path outside the prefix, never gets here: Node.js, a proxy or
the app answers in its own way. No reply may be cached: each has \`Cache-Control: no-store\`.

## Writing a client in another language

1. Generate types from this document. Keep numbers in \`payload\` exact: an integer may exceed 2^53, a decimal a double.
   Accept fields you do not know.
2. Record every local change of a synced table in the same transaction: its key, its kind, and the version last seen.
3. Upload: give each change a number that this device never used before, freeze the request, and repeat it unchanged
   until a reply arrives. \`applied\`: note \`new_server_version\` unless the row was edited meanwhile; then the newer
   edit is sent next, on that version. \`conflict\`: merge with \`server_row\` and send the result on its version.
   \`invalid\`: keep the change and show its reason; \`fk_missing\` may be sent again after its parent. Say in
   \`next_source_change_id\` what you believe your next number to be: then copies of one database cannot hide changes from
   each other; a change that is \`source_change_id_passed\` goes again under a new number.
4. Download: start at \`after=0\`; then pass \`after=next_after\` and \`until=window_until\` of the first page until
   \`has_more\` is false. Apply the pages, the row versions and the cursor in one transaction, and do not queue what
   you apply. Skip rows with pending local changes; their upload will settle them. A reinstalled device adds
   \`include_self=true\` to its first download.
5. Send the \`epoch\` you know with each request. 409 \`history_changed\` and 410 \`cursor_expired\` mean: download again
   from 0 and keep what only the device knows. 429 and 503: repeat after the seconds in \`Retry-After\`.`

const API_HEADER = `// DO NOT EDIT. Generated from openapi/openapi.json; npm run openapi writes it again.

`

const files = await generate()
if (process.argv.includes('--check')) process.exitCode = check(files) ? lint() : 1
else for (const [file, text] of Object.entries(files)) write(file, text)

async function generate (): Promise<Record<string, string>> {
  const { version } = JSON.parse(fs.readFileSync(new URL('package.json', root), 'utf8')) as { version: string }
  const app = Fastify()
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'fastify-oversync',
        version,
        description: DESCRIPTION,
        license: { name: 'MIT', identifier: 'MIT' }
      },
      servers: [{ url: '/', description: 'The app that registered the plugin. The prefix of the paths is its option.' }],
      tags: [
        { name: 'sync', description: 'Changes up, changes down, and what a device needs to know to do so.' },
        { name: 'admin', description: 'For operators. Only there where the app passes an `admin` authorizer; under a prefix of its own option, none by default.' }
      ]
    },
    refResolver: { buildLocalReference: json => json.$id as string }
  })
  await app.register(syncRoutes, {
    prefix: '/sync',
    service: null,
    getIdentity: async () => { throw new Error('The document is made without callers.') },
    maxBodyBytes: MAX_BODY_BYTES
  })
  await app.register(adminRoutes, { service: null, admin: () => false, getIdentity: () => null, metrics: null })
  await app.ready()
  const { openapi, info, servers, tags, paths, components } = app.swagger() as unknown as OpenAPI3
  await app.close()
  const json = JSON.stringify({ openapi, info, servers, tags, paths, components }, null, 2) + '\n'
  const types = await openapiTypescript(JSON.parse(json) as OpenAPI3, { alphabetize: false })
  return {
    'openapi/openapi.json': json,
    'openapi/openapi.yaml': stringify(JSON.parse(json), { lineWidth: 0 }),
    'client/generated/api.ts': API_HEADER + astToString(types)
  }
}

function check (files: Record<string, string>): boolean {
  const stale = Object.entries(files).filter(([file, text]) => read(file) !== text).map(([file]) => file)
  for (const file of stale) console.error(`${file} is ${read(file) === null ? 'missing' : 'stale'}: run npm run openapi and commit it.`)
  return stale.length === 0
}

interface Problem { severity: string, ruleId: string, message: string, location: Array<{ pointer: string }> }

/** The exit code of the linter. A warning counts: the document has none, and one more would be overlooked. */
function lint (): number {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [fileURLToPath(new URL('node_modules/@redocly/cli/bin/cli.js', root)), 'lint', '--format=json', '--config', 'openapi/redocly.yaml', 'openapi/openapi.json'], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' }
  })
  if (!stdout?.startsWith('{')) {
    console.error(`redocly did not run: ${error?.message ?? stderr}`)
    return 1
  }
  const { problems } = JSON.parse(stdout) as { problems: Problem[] }
  for (const { severity, ruleId, message, location } of problems) console.error(`openapi.json ${location[0]?.pointer ?? ''}: ${message} (${severity}, ${ruleId})`)
  if (status === 0 && problems.length === 0) {
    console.log('The OpenAPI document and the client\'s types are current; redocly finds nothing to complain about.')
    return 0
  }
  return status || 1
}

function read (file: string): string | null {
  const url = new URL(file, root)
  return fs.existsSync(url) ? fs.readFileSync(url, 'utf8') : null
}

function write (file: string, text: string): void {
  const url = new URL(file, root)
  fs.mkdirSync(new URL('.', url), { recursive: true })
  if (read(file) === text) return
  fs.writeFileSync(url, text)
  console.log(`wrote ${fileURLToPath(url).slice(fileURLToPath(root).length)}`)
}
