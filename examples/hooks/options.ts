import { sql } from 'kysely'
import type { Authorize, BeforeApply, Materializer, OversyncOptions, TableOptions } from 'fastify-oversync'

/** The code of docs/hooks.md, in one app. */

const authorize: Authorize = ({ table, payload }, { userId }) => {
  if (table === 'shop.orders' && payload?.['state'] === 'paid') return 'Only the till marks an order as paid.'
  return userId !== 'guest'
}

const beforeApply: BeforeApply = async ({ changes, identity, trx }) => {
  const fresh = changes.filter(({ table, op }) => table === 'shop.orders' && op === 'INSERT')
  const { open } = await trx.selectFrom('shop.orders')
    .where('customer', '=', identity.scope).where('state', '=', 'open')
    .select(({ fn }) => fn.countAll<string>().as('open')).executeTakeFirstOrThrow()
  return fresh.slice(Math.max(0, 10 - Number(open))).map(change => ({ change, message: 'Ten open orders are enough.' }))
}

const toDocuments: Materializer = async ({ rows, identity, trx }) => {
  const gone = rows.filter(({ op }) => op === 'DELETE').map(({ key }) => key)
  const kept = rows.filter(({ op }) => op !== 'DELETE').map(({ key, payloadText }) => ({ owner: identity.scope, id: key, body: sql`${payloadText}::text::json` }))
  if (gone.length > 0) await trx.deleteFrom('documents').where('owner', '=', identity.scope).where('id', 'in', gone).execute()
  if (kept.length > 0) {
    await trx.insertInto('documents').values(kept)
      .onConflict(conflict => conflict.columns(['owner', 'id']).doUpdateSet(({ ref }) => ({ body: ref('excluded.body') })))
      .execute()
  }
}

const tables: TableOptions[] = [
  { table: 'shop.products', shared: true, direction: 'down', exclude: ['purchase_price'] },
  { table: 'shop.orders', owner: 'customer' },
  { table: 'shop.scans', direction: 'up', onMaterializeError: 'record' },
  { table: 'app.notes', key: 'text', materializer: toDocuments }
]

const admin: OversyncOptions['admin'] = async request => request.headers['x-operator'] === process.env['OPERATOR_KEY']

export const hooks = { authorize, beforeApply, admin, adminPrefix: '/internal' }
export { tables }
