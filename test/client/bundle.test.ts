// What a browser has to load.
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import t from 'tap'

t.test('the client and its driver for the web bundle without anything of Node, and stay small', async t => {
  const { outputFiles, metafile } = await build({
    stdin: { contents: "export * from './client/index.js'; export * from './client/drivers/sqlite-wasm.js'", resolveDir: process.cwd() },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser', // a module of Node would not resolve
    write: false,
    metafile: true
  })
  const bytes = outputFiles[0]?.contents as Uint8Array
  const sizes = { minified: bytes.length, gzipped: gzipSync(bytes).length }
  t.comment(JSON.stringify(sizes))
  t.strictSame(Object.keys(metafile.inputs).filter(file => !file.startsWith('client/') && file !== '<stdin>'), [], 'nothing but the client is in it')
  t.ok(sizes.minified < 148_000 && sizes.gzipped < 47_500, `${sizes.minified} bytes, ${sizes.gzipped} gzipped`)
})
