// Reporter for tap: a line for each file, every failure with its diagnostics, and as the last line
// "N passed, N failed[, N skipped]", which CI reads. Counted are assertions; a file or subtest that fails without a
// failed assertion of its own (crash, timeout, wrong plan) counts as one failure.
import { Transform } from 'node:stream'
import { Parser } from 'tap-parser'

/** Diagnostics that say nothing to a reader of the log: how the process was started, and code that `at` points to. */
const NOISE = new Set(['args', 'command', 'cwd', 'externalID', 'jobId', 'source', 'stdio', 'test'])

export default class Reporter extends Transform {
  #parser = new Parser()
  #counts = { passed: 0, failed: 0, skipped: 0 }
  #failures = []

  constructor () {
    super()
    this.#watch(this.#parser, [])
    this.#parser.on('extra', text => { this.push(text) })
    this.#parser.on('bailout', reason => this.#fail(['bailed out'], { reason }))
  }

  _transform (chunk, _encoding, callback) {
    this.#parser.write(chunk)
    callback()
  }

  _flush (callback) {
    this.#parser.end()
    const { passed, failed, skipped } = this.#counts
    // No file at all, or a stream that broke off, is no success either.
    if (failed === 0 && (!this.#parser.ok || passed + skipped === 0)) this.#fail(['the run'], { message: 'tap ended without a complete result' })
    if (this.#failures.length > 0) {
      this.push(`\nFailed:\n${this.#failures.map(name => `  ${name}\n`).join('')}\n`)
      process.exitCode ||= 1
    }
    this.push(`${passed} passed, ${this.#counts.failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`)
    callback()
  }

  /** Adds up what happens in `parser`, which is the run, a file or a subtest, and below it. */
  #watch (parser, path) {
    let before = null
    parser.on('child', child => {
      before = { ...this.#counts }
      this.#watch(child, [...path, child.name])
    })
    parser.on('assert', result => {
      const { ok, skip, todo, diag, closingTestPoint } = result
      const inside = closingTestPoint && before !== null ? this.#since(before) : { passed: 0, failed: 0, skipped: 0 }
      const isLeaf = inside.passed + inside.failed + inside.skipped === 0
      const name = [...path, ...(path.length === 0 && diag?.expired ? [diag.expired] : []), result.name || '(no name)']
      if (skip || todo) {
        if (isLeaf) this.#skip(name, result)
      } else if (!ok) {
        if (inside.failed === 0) this.#fail(name, diag)
      } else if (!closingTestPoint) {
        this.#counts.passed++
      }
      if (path.length === 0) this.#file(result, inside)
      before = null
    })
  }

  #since (before) {
    return Object.fromEntries(Object.entries(this.#counts).map(([key, count]) => [key, count - before[key]]))
  }

  #file ({ ok, name, time }, { passed, failed }) {
    this.push(`${ok ? 'ok' : 'not ok'} ${name} (${passed + failed}${time === null ? '' : `, ${(time / 1000).toFixed(1)} s`})\n`)
  }

  #skip (name, { skip, todo }) {
    this.#counts.skipped++
    const reason = [skip, todo].find(value => typeof value === 'string')
    this.push(`  ${todo ? 'todo' : 'skipped'}: ${name.join(' > ')}${reason === undefined ? '' : ` (${reason})`}\n`)
  }

  #fail (name, diagnostics) {
    this.#counts.failed++
    this.#failures.push(name.join(' > '))
    this.push(`  failed: ${name.join(' > ')}\n`)
    for (const [key, value] of Object.entries(diagnostics ?? {})) {
      if (!NOISE.has(key) && value !== null) this.push(`    ${key}: ${text(value)}\n`)
    }
  }
}

function text (value) {
  if (typeof value === 'object' && value.fileName) return `${value.fileName}:${value.lineNumber}:${value.columnNumber}`
  const lines = (typeof value === 'string' ? value : JSON.stringify(value)).trimEnd()
  return lines.includes('\n') ? '\n' + lines.replaceAll(/^/gm, '      ') : lines
}
