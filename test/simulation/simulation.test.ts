import t from 'tap'
import { freshDb } from '../helpers/db.js'
import { Play } from './play.js'
import { REGRESSION_STORIES, REGRESSION_SEEDS } from './regressions.js'
import { failureText, summary } from './report.js'
import { startServers } from './server.js'
import { simulate, tellStory } from './simulate.js'
import { makeStory } from './story.js'

/** As many as take about two minutes; SEEDS=<count> and FIRST_SEED=<n> tell others, `npm run soak` as many as there is time for. */
const SEEDS = Number(process.env['SEEDS'] ?? 250)
const FIRST_SEED = Number(process.env['FIRST_SEED'] ?? 1)

t.test('random stories of devices, servers and faults keep every promise (P1 to P18)', { timeout: 1_500_000 }, async t => {
  const { url } = await freshDb(t)
  const report = await simulate({ url, firstSeed: FIRST_SEED, seeds: SEEDS })
  t.comment(summary(report))
  for (const failure of report.failures) t.fail(failureText(failure))
  t.equal(report.seeds, SEEDS)
  // Stories in which nothing happens would prove nothing. A few are too few to say.
  if (SEEDS < 200) return
  const { operations, faults } = report.counts
  for (const kind of ['lose request', 'lose reply', 'twice', 'twice at once', 'arrives late', 'commit lost', 'commit cut', 'statement cut', 'crash', 'crash in a transaction', 'file restored', 'file cloned', 'uploads overlap', 'server restarted']) {
    t.ok((faults[kind] ?? 0) >= Math.max(1, SEEDS / 200), `${kind}: ${faults[kind]}`)
  }
  for (const kind of ['syncOnce', 'uploadOnce', 'downloadOnce', 'hydrate', 'rebuild', 'upgrade', 'discard']) t.ok((operations[kind] ?? 0) >= SEEDS / 50, `${kind}: ${operations[kind]}`)
})

t.test('stories that once broke a promise keep it (P1 to P18)', { timeout: 600_000 }, async t => {
  const { url } = await freshDb(t)
  const servers = await startServers(url)
  t.teardown(async () => { await servers.close() })
  for (const { seed, found } of REGRESSION_SEEDS) t.equal(await tellStory(servers, makeStory(seed)), null, `seed ${seed}: ${found}`)
  for (const { story, found } of REGRESSION_STORIES) t.equal(await tellStory(servers, story), null, found)
  t.ok(REGRESSION_SEEDS.length + REGRESSION_STORIES.length > 0)
})

t.test('a seed tells the same story every time', async t => {
  const { url } = await freshDb(t)
  const servers = await startServers(url)
  t.teardown(async () => { await servers.close() })
  for (const seed of [3, 14, 15]) {
    t.same(makeStory(seed), makeStory(seed))
    const traces = []
    for (let i = 0; i < 2; i++) {
      const play = new Play(servers, makeStory(seed))
      await play.run()
      traces.push(play.trace)
    }
    t.same(traces[0], traces[1], `seed ${seed}`)
    t.ok((traces[0] as string[]).length > 5)
  }
})
