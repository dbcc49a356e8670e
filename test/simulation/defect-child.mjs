// node --import=tsx test/simulation/defect-child.mjs NAME FIRST-SEED SEEDS
// Tells stories over a source that has the defect, until one breaks a promise. Prints what it found as JSON.
import { register } from 'node:module'
import { freshDb } from '../helpers/db.ts'
import { DEFECTS } from './defects.ts'

const [name, firstSeed, seeds] = process.argv.slice(2)
const defect = DEFECTS.find(defect => defect.name === name)
if (defect === undefined) throw new Error(`There is no defect "${name}".`)
register('./defect-loader.mjs', import.meta.url, { data: { changes: defect.changes } })

const { simulate } = await import('./simulate.ts')
const ends = []
const { url } = await freshDb({ teardown: end => { ends.push(end) } })
const report = await simulate({ url, firstSeed: Number(firstSeed), seeds: Number(seeds), atOnce: 2, maxFailures: 1, shrinks: false })
for (const end of ends) await end()
const failure = report.failures[0]
console.log(JSON.stringify({ seeds: report.seeds, seconds: report.seconds, seed: failure?.seed ?? null, promise: failure?.promise ?? null, message: failure?.message.split('\n')[0] ?? null }))
