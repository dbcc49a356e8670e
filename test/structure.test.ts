import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('../', import.meta.url))
const BARRELS = ['src/index.ts', 'client/index.ts']

/** What a folder of src/ must not import, so that the arrows keep pointing down: routes, service, storage and materializer. */
const FORBIDDEN: Record<string, RegExp> = {
  'src/routes/': /^src\/(storage|materializer)\//,
  'src/service/': /^(fastify$|@fastify\/|src\/(routes\/|plugin))/,
  'src/materializer/': /^(fastify$|@fastify\/|src\/(routes|service)\/|src\/plugin)/,
  'src/storage/': /^(fastify$|@fastify\/|src\/(routes|service|materializer)\/|src\/plugin)/
}

const files = listFiles()
const sources = files.filter(file => /\.m?ts$/.test(file) && !file.endsWith('.d.mts'))

t.test('the contract imports nothing but TypeBox, itself and the table of errors', async t => {
  t.strictSame(imports('src/contract/', target => !/^(@sinclair\/typebox(\/.*)?|src\/contract\/.*|src\/errors\.js)$/.test(target)), [])
})

t.test('dependencies point down, and nothing below the routes knows Fastify', async t => {
  for (const [folder, forbidden] of Object.entries(FORBIDDEN)) t.strictSame(imports(folder, target => forbidden.test(target)), [], folder)
})

t.test('the client knows the server by its OpenAPI document only', async t => {
  t.strictSame(imports('client/', target => /^(src\/|fastify)/.test(target)), [])
})

t.test('the client runs in browsers, but for its drivers', async t => {
  t.strictSame(imports('client/', (target, file) => target.startsWith('node:') && !file.startsWith('client/drivers/')), [])
})

t.test('there are two barrels, and nobody inside imports them', async t => {
  const barrels = sources.filter(file => {
    const statements = read(file).replaceAll(/\/\*.*?\*\/|\/\/.*$/gms, '').split(/\n(?=\S)/).map(text => text.trim()).filter(text => text !== '' && text !== '}')
    return statements.length > 0 && statements.every(text => /^export\b.*\bfrom\b/s.test(text))
  })
  t.strictSame(barrels.filter(file => !BARRELS.includes(file)), [], 'barrels')
  t.strictSame([...imports('src/', isBarrel), ...imports('client/', isBarrel)], [], 'imports of barrels')
  function isBarrel (target: string): boolean { return BARRELS.includes(target.replace(/\.js$/, '.ts')) }
})

t.test('no test is left out', async t => {
  const left = /\.(?:skip|only|todo)\s*\(|\b(?:skip|only|todo)\s*:\s*(?:true|['"`])/
  t.strictSame(files.filter(file => file.startsWith('test/') && file.endsWith('.ts') && left.test(read(file))), [])
})

t.test('nothing names a machine or a registry', async t => {
  const quoted = [root.replace(/\/$/, ''), os.homedir()].filter(folder => folder !== '/').map(folder => folder.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  const machine = new RegExp(`(?:^|[\\s"'\`=(:])(?:${quoted.join('|')}|/(?:home|Users)/\\w+)(?:[/\\s"'\`)]|$)`, 'm')
  const registry = /https?:\/\/[^/\s"']*(?:registry|npmjs\.org|npmmirror|yarnpkg)/
  const naming = (pattern: RegExp) => files.flatMap(file => (pattern.exec(read(file)) ?? []).map(text => `${file}: ${text.trim()}`))
  t.strictSame(naming(machine), [], 'paths of a machine')
  t.strictSame(naming(registry), [], 'registries')
  t.notMatch(read('package-lock.json'), /"resolved": /, 'package-lock.json has no addresses')
})

/** The imports of the files under `folder` that are wrong, as `file imports target`; targets inside the project from its root. */
function imports (folder: string, isWrong: (target: string, file: string) => boolean): string[] {
  return sources.filter(file => file.startsWith(folder)).flatMap(file => {
    const found = read(file).matchAll(/^\s*(?:import|export)\b[^'"]*?\bfrom\s*['"]([^'"]+)['"]|^\s*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/gm)
    return [...found]
      .map(([, from, bare, dynamic]) => (from ?? bare ?? dynamic) as string)
      .map(target => target.startsWith('.') ? path.posix.join(path.posix.dirname(file), target) : target)
      .filter(target => isWrong(target, file))
      .map(target => `${file} imports ${target}`)
  })
}

/** The project's text files: what git tracks or would add; in an unpacked archive, what is there. */
function listFiles (): string[] {
  const isText = (file: string) => /(^|\/)[^.]*$|\.(m?[jt]s|json|ya?ml|md|sql|sh|taprc|npmrc|gitignore)$/.test(file)
  try {
    const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    return listed.split('\n').filter(file => file !== '' && isText(file) && fs.existsSync(root + file))
  } catch {
    const made = /^(node_modules|dist|coverage|\.tap|\.git)(\/|$)/
    return fs.readdirSync(root, { recursive: true, encoding: 'utf8' })
      .map(file => file.replaceAll(path.sep, '/'))
      .filter(file => !made.test(file) && isText(file) && fs.statSync(root + file).isFile())
  }
}

function read (file: string): string {
  return fs.readFileSync(root + file, 'utf8')
}
