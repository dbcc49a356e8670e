import { build } from 'esbuild'
import type { FastifyInstance } from 'fastify'
import fs from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

/** The page, its two bundles and SQLite, under /notes. */
export async function servePage (app: FastifyInstance): Promise<void> {
  const { outputFiles } = await build({
    entryPoints: [here('app/page.ts'), here('app/worker.ts')],
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    outdir: here('.'),
    write: false,
    logLevel: 'error'
  })
  const wasm = await fs.readFile(fileURLToPath(import.meta.resolve('@sqlite.org/sqlite-wasm/sqlite3.wasm')))
  const html = await fs.readFile(here('app/index.html'))
  const file = (path: string, type: string, body: string | Uint8Array): void => {
    app.get(path, { schema: { hide: true } }, async (_, reply) => await reply.type(type).send(body))
  }
  file('/notes', 'text/html', html)
  for (const { path, text } of outputFiles) file(`/notes/${path.slice(path.lastIndexOf('/') + 1)}`, 'text/javascript', text)
  file('/notes/sqlite3.wasm', 'application/wasm', wasm) // SQLite looks for it beside the worker's bundle
}
