import t from 'tap'
import { readOptions } from './soak-options.js'

t.test('npm run soak takes minutes, seeds and a story, and says what is wrong with others', async t => {
  t.same(readOptions([], 41), { minutes: 10, seed: 42, seeds: Infinity, story: null })
  t.same(readOptions(['--minutes', '0.5', '--seed', '7', '--seeds', '3', '--story', 'a.json'], 0), { minutes: 0.5, seed: 7, seeds: 3, story: 'a.json' })
  t.equal(readOptions(['-h'], 0), 'help')
  for (const wrong of [['--minutes', '0'], ['--seed', 'x'], ['--seed', '12345678901'], ['--seeds', '1.5'], ['--hours', '1'], ['now']]) t.throws(() => readOptions(wrong, 0), { message: /must be a number|[Uu]nknown option|[Uu]nexpected argument/ }, wrong.join(' '))
})
