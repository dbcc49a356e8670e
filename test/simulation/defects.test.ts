import t from 'tap'
import { runNode } from '../helpers/run.js'
import { changeSource } from './defect-loader.mjs'
import { DEFECTS } from './defects.js'

/** Stories within which a defect must show, counted from the first that is known to be about it. */
const STORIES = 40

t.test('every classic defect, brought back, breaks a promise within a few stories', { timeout: 1_500_000 }, async t => {
  for (const { name, from } of DEFECTS) {
    const child = runNode(t, ['--import=tsx', 'test/simulation/defect-child.mjs', name, String(from), String(STORIES)])
    t.equal(await child.ended(), 0, `${name}: the child ended\n${child.output()}`)
    const { seed, seeds, promise, message } = JSON.parse(child.output().trim().split('\n').at(-1) as string) as { seed: number | null, seeds: number, promise: string | null, message: string }
    t.ok(seed !== null, `${name}: caught`)
    t.ok(promise !== null, `${name}: by a broken promise, not by accident: ${message}`)
    t.comment(`${name}: ${promise}, seed ${seed} after ${seeds}`)
  }
})

t.test('a defect whose snippet is no longer in the source fails loudly', async t => {
  const change = { file: 'a.ts', find: 'one', replace: 'two' }
  t.equal(changeSource('one', [change]), 'two')
  t.equal(changeSource('one', [{ ...change, replace: '$&' }]), '$&')
  t.throws(() => changeSource('two', [change]), { message: 'a.ts has this snippet 0 times: one' })
  t.throws(() => changeSource('one one', [change]), { message: 'a.ts has this snippet 2 times: one' })
})
