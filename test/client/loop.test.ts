// The loop: its table, what it does in each state, and the same through a real client on a real file.
import fs from 'node:fs'
import t, { type Test } from 'tap'
import { SyncClientError } from '../../client/index.js'
import { backoffMs, pollMs } from '../../client/loop/delay.js'
import { createLoop, type Loop } from '../../client/loop/loop.js'
import { REFUSALS, STAY, TRANSITIONS, type LoopEvent, type LoopState } from '../../client/loop/machine.js'
import { FakeWorld } from './fake-world.js'

t.test('docs/client-states.md shows the table that the loop runs on', async t => {
  const docs = fs.readFileSync('docs/client-states.md', 'utf8')
  const section = docs.split('## What follows')[1] ?? ''
  const [head, , ...rows] = section.split('\n').filter(line => line.startsWith('|')).map(line => line.split('|').slice(1, -1).map(cell => cell.trim().replaceAll('`', '')))
  const written = Object.fromEntries(rows.map(([state, ...cells]) => [state, Object.fromEntries(cells.map((cell, i) => [head?.[i + 1], cell]))]))
  t.strictSame(written, TRANSITIONS)
  for (const state of Object.keys(TRANSITIONS)) t.match(docs.split('## Events')[0], `| \`${state}\` |`)
  for (const event of Object.keys(TRANSITIONS.idle)) t.match(docs.split('## Events')[1], `\`${event}\``)
  for (const code of REFUSALS) t.ok(code in (await import('../../client/errors.js')).CLIENT_ERRORS, code)
})

t.test('from every state but closed the loop can be stopped, and can reach running again', async t => {
  const states = Object.keys(TRANSITIONS) as LoopState[]
  const reach = (from: LoopState, events: LoopEvent[]): Set<LoopState> => {
    const found = new Set<LoopState>([from])
    for (const state of found) for (const event of events) if ((TRANSITIONS[state][event]) in TRANSITIONS) found.add(TRANSITIONS[state][event] as LoopState)
    return found
  }
  const all = Object.keys(TRANSITIONS.idle) as LoopEvent[]
  for (const state of states.filter(state => state !== 'closed')) {
    t.ok(reach(state, ['stop', 'succeeded']).has('stopped'), `${state} can be stopped`)
    t.ok(reach(state, all.filter(event => event !== 'close')).has('running'), `${state} can reach running`)
    t.equal(TRANSITIONS[state].close, 'closed')
  }
  for (const event of all) t.notOk((TRANSITIONS.closed[event]) in TRANSITIONS, `closed stays closed on ${event}`)
})

const pace = { pollIntervalMs: 30_000, minBackoffMs: 1_000, maxBackoffMs: 60_000 }

t.test('waits: doubled, capped, by half a matter of chance, never shorter than the server asked for (B15, E4, G7)', async t => {
  t.strictSame([1, 2, 3, 4, 5, 6, 7, 8, 1e9].map(n => backoffMs(pace, n, undefined, 1)), [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000])
  t.equal(backoffMs(pace, 3, undefined, 0), 2000)
  t.equal(backoffMs(pace, 1, 30, 0), 30_000)
  t.equal(backoffMs(pace, 1, 30, 1), 31_000, 'devices do not come back all at the second that the server named')
  t.equal(backoffMs(pace, 7, 1, 1), 60_000)
  t.equal(backoffMs(pace, 1, 0, 0), 500, 'a date in the past asks for nothing')
  t.equal(pollMs(pace, 0), 30_000)
  t.equal(pollMs(pace, 1), 33_000)
})

interface Bench { loop: Loop, world: FakeWorld, states: LoopState[], errors: Error[], runs: Array<{ signal: AbortSignal, end: (outcome: 'done' | 'locked' | Error) => Promise<void> }>, work: { isThere: boolean } }

/** A loop whose runs end when the test says so. */
function createBench (t: Test): Bench {
  const world = new FakeWorld()
  const bench: Omit<Bench, 'loop'> = { world, states: [], errors: [], runs: [], work: { isThere: false } }
  const loop = createLoop({
    ...pace,
    localCheckMs: 1_000,
    hasNewWork: () => bench.work.isThere,
    onState: state => bench.states.push(state),
    onError: error => bench.errors.push(error),
    run: signal => new Promise((resolve, reject) => {
      bench.runs.push({
        signal,
        async end (outcome) {
          if (outcome instanceof Error) reject(outcome)
          else resolve(outcome)
          for (let i = 0; i < 5; i++) await Promise.resolve()
        }
      })
    })
  }, world)
  t.teardown(() => {
    loop.dispatch('close')
    if (world.timers.size + world.watchers.size > 0) throw new Error('something is armed after close')
  })
  return { ...bench, loop }
}

t.test('runs at once, then by the timer, never faster than told', async t => {
  const { loop, world, runs } = createBench(t)
  t.equal(world.timers.size, 0)
  loop.dispatch('start')
  loop.dispatch('start')
  t.equal(runs.length, 1)
  await runs[0]?.end('done')
  t.equal(loop.state, 'idle')
  world.pass(29_999)
  t.equal(runs.length, 1)
  world.pass(1)
  t.equal(runs.length, 2)
  world.pass(1e9)
  t.equal(runs.length, 2, 'one run at a time, however long it takes')
})

t.test('a local write wakes an idle loop within localCheckMs, also one made while it ran', async t => {
  const { loop, world, runs, work } = createBench(t)
  loop.dispatch('start')
  work.isThere = true
  await runs[0]?.end('done')
  world.pass(0)
  t.equal(runs.length, 2)
  work.isThere = false
  await runs[1]?.end('done')
  world.pass(5_500)
  t.equal(runs.length, 2)
  work.isThere = true
  world.pass(499)
  t.equal(runs.length, 2)
  world.pass(1)
  t.equal(runs.length, 3)
})

t.test('failures back off, wait as long as the server says, and a wake or the network ends the wait (B12, B13, P18)', async t => {
  const { loop, world, runs, work, errors } = createBench(t)
  world.chance = 1
  loop.dispatch('start')
  for (const [i, wait] of [1000, 2000, 4000, 8000].entries()) {
    await runs[i]?.end(new SyncClientError('network', 'Gone.'))
    t.equal(loop.state, 'backoff')
    t.strictSame(world.waits, [wait])
    work.isThere = true
    world.pass(wait - 1)
    t.equal(runs.length, i + 1, 'local writes do not shorten it')
    world.pass(1)
  }
  await runs[4]?.end(new SyncClientError('unavailable', 'Later.', { retryAfterSeconds: 120 }))
  t.strictSame(world.waits, [121_000])
  loop.dispatch('wake')
  t.equal(runs.length, 6)
  await runs[5]?.end(new SyncClientError('timeout', 'Slow.'))
  world.setNetwork('offline')
  t.equal(loop.state, 'offline')
  world.setNetwork('online')
  t.equal(loop.state, 'running')
  work.isThere = false
  await runs[6]?.end('done')
  t.equal(loop.state, 'idle')
  loop.dispatch('wake')
  await runs[7]?.end(new SyncClientError('network', 'Gone.'))
  t.strictSame(world.waits, [1000], 'a run that went well begins the count anew')
  t.equal(errors.length, 7)
})

t.test('an error that the app has to settle blocks: it is tried seldom, and at once on a wake (I2)', async t => {
  const { loop, world, runs } = createBench(t)
  loop.dispatch('start')
  await runs[0]?.end(new SyncClientError('authentication_failed', 'Who?'))
  t.equal(loop.state, 'blocked')
  t.strictSame(world.waits, [30_000])
  world.pass(30_000)
  await runs[1]?.end(new SyncClientError('authentication_failed', 'Who?'))
  loop.dispatch('wake')
  await runs[2]?.end('done')
  t.equal(loop.state, 'idle')
})

t.test('a device that starts without a network finds out, and goes on when it comes, or now and then all the same', async t => {
  const { loop, world, runs } = createBench(t)
  world.network = 'offline'
  loop.dispatch('start')
  await runs[0]?.end(new SyncClientError('network', 'Gone.'))
  world.pass(0)
  t.equal(loop.state, 'offline')
  world.pass(60_000)
  t.equal(runs.length, 2, 'the system may be wrong')
})

t.test('another process has the file: look again later (A19)', async t => {
  const { loop, world, runs, errors } = createBench(t)
  loop.dispatch('start')
  await runs[0]?.end('locked')
  t.equal(loop.state, 'elsewhere')
  world.pass(5_000)
  t.equal(runs.length, 2)
  t.strictSame(errors, [])
})

t.test('stop aborts the run and resolves when it is over; start meanwhile begins a new one', async t => {
  const { loop, runs, errors, world } = createBench(t)
  loop.dispatch('start')
  let isOver = false
  const stopped = loop.stop().then(() => { isOver = true })
  t.equal(runs[0]?.signal.aborted, true)
  t.equal(loop.state, 'stopping')
  await Promise.resolve()
  t.equal(isOver, false)
  loop.dispatch('start')
  t.equal(loop.state, 'restarting')
  await runs[0]?.end(new SyncClientError('aborted', 'Stopped.'))
  await stopped
  t.equal(runs.length, 2)
  t.equal(runs[1]?.signal.aborted, false)
  await runs[1]?.end('done')
  await loop.stop()
  t.equal(loop.state, 'stopped')
  t.strictSame([world.timers.size, world.watchers.size, errors.length], [0, 0, 0])
})

t.test('close while a run is under way: nothing is armed, and its end changes nothing', async t => {
  const { loop, runs, states, world } = createBench(t)
  loop.dispatch('start')
  const stopped = loop.stop()
  loop.dispatch('close')
  await runs[0]?.end(new SyncClientError('aborted', 'Closed.'))
  await stopped
  loop.dispatch('start')
  t.strictSame(states, ['running', 'stopping', 'closed'])
  t.strictSame([world.timers.size, runs.length], [0, 1])
})

t.test('a look into the file that fails is told and goes on', async t => {
  const world = new FakeWorld()
  const errors: string[] = []
  let looks = 0
  const loop = createLoop({
    ...pace,
    localCheckMs: 1_000,
    hasNewWork () {
      looks++
      throw new Error('busy')
    },
    run: async () => 'done' as const,
    onState: () => {},
    onError: error => errors.push(error.message)
  }, world)
  loop.dispatch('start')
  for (let i = 0; i < 5; i++) await Promise.resolve()
  world.pass(3_000)
  t.equal(looks, 4)
  t.strictSame(errors, ['busy', 'busy', 'busy', 'busy'])
  t.equal(loop.state, 'idle')
  loop.dispatch('close')
})

t.test('any order of events keeps one run, one timer and one watch at most, and an outcome only for a run', async t => {
  for (let seed = 1; seed <= 300; seed++) {
    const bench = createBench(t)
    const { loop, world, runs, work } = bench
    let state = seed
    const below = (n: number): number => {
      state = (state * 1103515245 + 12345) % 2 ** 31
      return Math.floor(state / 65536) % n
    }
    let ended = 0
    for (let i = 0; i < 60; i++) {
      switch (below(9)) {
        case 0: loop.dispatch('start'); break
        case 1: loop.stop().catch(() => {}); break
        case 2: loop.dispatch('wake'); break
        case 3: world.pass(below(70_000)); break
        case 4: world.setNetwork(below(2) === 0 ? 'online' : 'offline'); break
        case 5: work.isThere = below(2) === 0; break
        default:
          if (ended < runs.length) await runs[ended++]?.end([new SyncClientError('network', 'Gone.'), new SyncClientError('forbidden', 'No.'), 'locked' as const, 'done' as const][below(4)] as 'done')
      }
      if (runs.length - ended > 1) return t.fail(`seed ${seed}: ${runs.length - ended} runs at once`)
      if (world.timers.size > 3 || world.watchers.size > 1) return t.fail(`seed ${seed}: ${world.timers.size} timers, ${world.watchers.size} watchers in ${loop.state}`)
      const isUnderWay = ['running', 'stopping', 'restarting'].includes(loop.state)
      if (isUnderWay !== (runs.length > ended)) return t.fail(`seed ${seed}: ${loop.state} with ${runs.length - ended} runs`)
      if (['stopped', 'stopping', 'restarting'].includes(loop.state) && world.timers.size + world.watchers.size > 0) return t.fail(`seed ${seed}: armed while ${loop.state}`)
    }
    loop.dispatch('close')
  }
  t.equal(STAY, '–')
})
