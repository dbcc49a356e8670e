// Who waits for whom, and who makes ready meanwhile.
import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { MAX_CONCURRENT_UPLOADS } from '../../src/limits.js'
import { UploadQueue } from '../../src/service/upload-queue.js'

/** Uploads that work until they are told to end, and what has happened so far. */
function stage () {
  const queue = new UploadQueue()
  const seen: string[] = []
  const endings = new Map<string, () => void>()
  return {
    seen,
    /** Puts an upload into a scope's line. */
    send: (scope: string, name: string, fails: 'ready' | 'work' | null = null): Promise<string> => queue.run(scope, 1, {
      makeReady () {
        seen.push(`${name} ready`)
        if (fails === 'ready') throw new Error(`${name} is not ready`)
        return name.toUpperCase()
      },
      async work (ready, waitedMs) {
        if (!(waitedMs >= 0)) throw new Error(`waited ${waitedMs} ms`)
        seen.push(`${name} works`)
        await new Promise<void>(resolve => { endings.set(name, resolve) })
        seen.push(`${name} ends`)
        if (fails === 'work') throw new Error(`${name} has failed`)
        return ready
      }
    }),
    end: (name: string): void => {
      const end = endings.get(name)
      if (end === undefined) throw new Error(`${name} does not work.`)
      end()
    }
  }
}

/** Until nothing happens any more by itself. */
async function settle (): Promise<void> {
  for (let i = 0; i < 10; i++) await nextTurn()
}

t.test('the next of a scope makes ready while the one before it works, and no other', async t => {
  const { seen, send, end } = stage()
  const all = ['a', 'b', 'c'].map(name => send('ann', name))
  await settle()
  t.strictSame(seen, ['a ready', 'a works', 'b ready'])
  end('a')
  await settle()
  t.strictSame(seen.slice(3), ['a ends', 'b works', 'c ready'])
  end('b')
  await settle()
  end('c')
  t.strictSame(await Promise.all(all), ['A', 'B', 'C'])
  t.strictSame(seen.slice(6), ['b ends', 'c works', 'c ends'])
})

t.test('lines do not wait for each other', async t => {
  const { seen, send, end } = stage()
  const all = [send('ann', 'a'), send('bob', 'b'), send('ann', 'c')]
  await settle()
  t.strictSame(seen, ['a ready', 'a works', 'b ready', 'b works', 'c ready'])
  end('b')
  end('a')
  await settle()
  end('c')
  t.strictSame(await Promise.all(all), ['A', 'B', 'C'])
})

t.test('one that cannot make ready, or fails, says so in its turn and lets the next one through, who never overtakes', async t => {
  for (const how of ['ready', 'work'] as const) {
    const { seen, send, end } = stage()
    const first = send('ann', 'a')
    const second = t.rejects(send('ann', 'b', how), { message: how === 'ready' ? 'b is not ready' : 'b has failed' })
    const third = send('ann', 'c')
    await settle()
    t.strictSame(seen, ['a ready', 'a works', 'b ready'], `${how}: c waits for b`)
    end('a')
    await settle()
    if (how === 'work') {
      t.strictSame(seen.slice(3), ['a ends', 'b works', 'c ready'])
      end('b')
    }
    await second
    await settle()
    t.strictSame(seen.slice(-2), how === 'work' ? ['b ends', 'c works'] : ['c ready', 'c works'])
    end('c')
    t.strictSame(await Promise.all([first, third]), ['A', 'C'])
  }
})

t.test('where all places at work are taken, nobody makes ready ahead of a place', async t => {
  const { seen, send, end } = stage()
  const scopes = Array.from({ length: MAX_CONCURRENT_UPLOADS }, (_, i) => `scope ${i}`)
  const first = scopes.map(scope => send(scope, `${scope}, first`))
  const other = send('other', 'other')
  const second = scopes.map(scope => send(scope, `${scope}, second`))
  await settle()
  t.equal(seen.filter(line => line.endsWith('ready')).length, MAX_CONCURRENT_UPLOADS, 'those at work')
  end('scope 3, first')
  await settle()
  t.strictSame(seen.slice(-2), ['other ready', 'other works'], 'whoever waited longest has the place')
  end('other')
  await settle()
  t.strictSame(seen.slice(-2), ['scope 3, second ready', 'scope 3, second works'])
  for (const scope of scopes) if (scope !== 'scope 3') end(`${scope}, first`)
  await settle()
  for (const scope of scopes) end(`${scope}, second`)
  await Promise.all([...first, other, ...second])
  t.equal(seen.length, 3 * (2 * MAX_CONCURRENT_UPLOADS + 1))
})
