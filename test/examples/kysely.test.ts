import t from 'tap'
import { runNode } from '../helpers/run.js'

t.test('the Kysely example merges what two devices wrote, by a typed resolver, and leaves with 0', async t => {
  const example = runNode(t, ['--import=tsx', 'examples/kysely/index.ts'])
  t.equal(await example.ended(), 0, example.output())
  t.match(example.output(), 'The laptop reads, by Kysely: [ { title: \'Plans\', content: \'Sleep.\', name: \'Alice\' } ]')
  t.match(example.output(), 'The resolver merged content: "Sleep. Swim.\\n---\\nSleep. Read."')
  t.match(example.output(), 'Phone and laptop hold the same: "Sleep. Swim.\\n---\\nSleep. Read."')
})
