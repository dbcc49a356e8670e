import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { waitFor } from './wait-for.js'

export interface Running {
  process: ChildProcess
  /** All that the process has written, both streams. */
  output (): string
  /** Waits for output that matches and returns the match. Throws where the process ends before. */
  printed (pattern: RegExp): Promise<RegExpExecArray>
  /** Waits for the end: exit code, or the name of the signal. */
  ended (): Promise<number | string>
}

export const root = fileURLToPath(new URL('../../', import.meta.url))

/** Runs a Node.js program in the project's folder as a user would: without what the test runner or npm adds to the environment. Killed at teardown. */
export function runNode (t: { teardown (fn: () => void): void }, args: string[], env: Record<string, string | undefined> = {}): Running {
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(TAP|_TAPJS|npm_|NODE_OPTIONS$)/.test(name)))
  const child = spawn(process.execPath, args, { cwd: root, env: { ...clean, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => { output += text })
  // "close" comes after the last output, but a grandchild that lives on holds the pipes open; "exit" does not wait for it.
  const exit = once(child, 'exit').then(([code, signal]) => (code ?? signal) as number | string)
  t.teardown(() => { child.kill('SIGKILL') })
  return {
    process: child,
    output: () => output,
    ended: () => exit,
    async printed (pattern) {
      const match = await waitFor(`output like ${pattern}`, () => pattern.exec(output) ?? (child.exitCode ?? child.signalCode) !== null)
      if (match === true) throw new Error(`The process ended before it wrote ${pattern}. It wrote:\n${output}`)
      return match as RegExpExecArray
    }
  }
}
