import t from 'tap'
import { buildApp, caller, startApp, type World } from '../helpers/app.js'

const LIST = '/admin/materialize-failures'

async function ask ({ app }: Pick<World, 'app'>, headers: Record<string, string>): Promise<string[]> {
  const list = await app.inject({ url: `${LIST}?user=alice`, headers })
  const retry = await app.inject({ url: `${LIST}/retry`, method: 'POST', headers, payload: { id: 1 } })
  return [list, retry].map(({ statusCode, body }) => `${statusCode} ${(JSON.parse(body) as { error?: string }).error ?? 'ok'}`)
}

t.test('the admin routes are there only where the app says who is an operator, and a device\'s sign-in opens none of them (I11)', async t => {
  const device = { 'x-user': 'alice', 'x-device': 'phone' }
  const operator = { 'x-operator': 'yes' }
  const world = await buildApp(t)
  t.strictSame([await ask(world, device), await ask(world, operator)].flat().map(line => line.slice(0, 3)), ['404', '404', '404', '404'], 'not exposed by default')
  t.equal((await caller(world.app, 'alice').request({ url: LIST })).statusCode, 404, 'under the prefix neither')

  const app = await startApp(t, { database: world.url, admin: request => request.headers['x-operator'] === 'yes' })
  t.strictSame(await ask({ app }, device), ['403 forbidden', '403 forbidden'])
  t.strictSame(await ask({ app }, {}), ['403 forbidden', '403 forbidden'])
  t.strictSame(await ask({ app }, operator), ['200 ok', '404 not_found'], 'an operator needs no device')
  for (const answer of [undefined, null, 'yes', 1, {}]) {
    const lax = await startApp(t, { database: world.url, admin: (() => answer) as never })
    const refusal = answer === undefined || answer === null ? '401 authentication_failed' : '403 forbidden'
    t.strictSame(await ask({ app: lax }, operator), [refusal, refusal], `${String(answer)} is not true`)
  }
})
