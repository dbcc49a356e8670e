// Module hooks that bring a defect back: the source of a file is changed before it is compiled. Registered by defect-child.mjs.
import fs from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { transform } from 'esbuild'

let changes = []

export function initialize (data) {
  changes = data.changes
}

export async function load (url, context, nextLoad) {
  const path = url.startsWith('file:') ? fileURLToPath(url) : ''
  const own = changes.filter(({ file }) => path.endsWith(`/${file}`))
  if (own.length === 0) return await nextLoad(url, context)
  const { code } = await transform(changeSource(await fs.readFile(path, 'utf8'), own), { loader: 'ts', format: 'esm', target: 'node20', sourcefile: path })
  return { format: 'module', source: code, shortCircuit: true }
}

export function changeSource (source, changes) {
  for (const { file, find, replace } of changes) {
    const places = source.split(find).length - 1
    if (places !== 1) throw new Error(`${file} has this snippet ${places} times: ${find}`)
    source = source.replace(find, () => replace)
  }
  return source
}
