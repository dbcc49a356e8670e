import t from 'tap'
import { assertSound, buildApp, john, log, put, del, uuid, verdicts, type Caller, type Read } from '../helpers/app.js'
import type { UploadChange } from '../../src/contract/upload-change.js'
import type { UploadResponse } from '../../src/contract/upload-response.js'

/** An upload of a device that says what it believes its next number to be. */
async function send (device: Caller, next: number, changes: UploadChange[]): Promise<Read<UploadResponse>> {
  return await device.upload(changes, { next_source_change_id: next })
}

t.test('a change whose first delivery was not applied is not applied later under its number, once a higher one was used (B2, B6)', async t => {
  const { user, sql } = await buildApp(t)
  const phone = user('alice')
  const post = put(1, 'posts', uuid(11), { title: 'a child', author_id: uuid(1) })
  const batch = [post, put(2, 'users', uuid(2), john())]
  t.strictSame(verdicts(await send(phone, 1, batch)), ['1 invalid fk_missing', '2 applied v1'])
  await user('alice', 'tablet').upload([put(1, 'users', uuid(1), john())])
  const again = await send(phone, 1, batch)
  t.strictSame(verdicts(again), ['1 invalid source_change_id_passed', '2 applied v1'], 'a replay applies nothing new')
  t.equal(again.next_source_change_id, 3)
  t.strictSame(verdicts(await send(phone, 3, [{ ...post, source_change_id: 3 }])), ['3 applied v1'])
  t.strictSame(verdicts(await send(phone, 4, [del(2, 'users', uuid(99), 1)])), ['2 invalid source_change_id_reused'])
  await assertSound(t, sql, 'alice')
})

t.test('a batch in which another copy used a number for something else is not applied at all (D9)', async t => {
  const { user, sql } = await buildApp(t)
  const [original, copy] = [user('alice'), user('alice')]
  await send(original, 1, [put(1, 'users', uuid(1), john())])
  await send(original, 2, [put(2, 'users', uuid(2), john())])
  const before = await log(sql, 'alice')
  const reply = await send(copy, 2, [put(2, 'users', uuid(3), john()), put(3, 'users', uuid(4), john())])
  t.strictSame(verdicts(reply), ['2 invalid source_change_id_reused', '3 invalid source_change_id_reused'])
  t.equal(reply.next_source_change_id, 3)
  t.strictSame(await log(sql, 'alice'), before)
  t.strictSame(verdicts(await send(copy, 2, [put(2, 'users', uuid(2), john()), put(3, 'users', uuid(4), john())])), ['2 applied v1', '3 applied v1'], 'the same content is a replay')
  await assertSound(t, sql, 'alice')
})

t.test('a batch after a number that another copy has used unseen is not applied (D9)', async t => {
  const { user, sql } = await buildApp(t)
  const [original, copy] = [user('alice'), user('alice')]
  await send(original, 1, [put(1, 'users', uuid(1), john())])
  t.strictSame(verdicts(await send(copy, 2, [put(2, 'posts', uuid(12), { title: 't', author_id: uuid(9) })])), ['2 invalid fk_missing'], 'the copy has used number 2 for itself')
  await send(original, 2, [put(2, 'users', uuid(2), john())])
  t.strictSame(verdicts(await send(copy, 2, [put(3, 'users', uuid(3), john())])), ['3 invalid source_change_id_reused'])
  t.strictSame(verdicts(await send(original, 3, [put(3, 'users', uuid(4), john())])), ['3 applied v1'])
  t.strictSame(verdicts(await send(original, 4, [put(9, 'users', uuid(5), john()), put(7, 'users', uuid(6), john())])), ['9 applied v1', '7 applied v1'], 'inside a batch numbers come in any order')
  await assertSound(t, sql, 'alice')
})

t.test('a device that does not send the field is judged as before', async t => {
  const { user, sql } = await buildApp(t)
  const phone = user('alice')
  await phone.upload([put(5, 'users', uuid(5), john())])
  t.strictSame(verdicts(await phone.upload([put(3, 'users', uuid(3), john()), put(5, 'users', uuid(6), john()), put(6, 'users', uuid(7), john())])),
    ['3 applied v1', '5 invalid source_change_id_reused', '6 applied v1'])
  for (const value of ['"7"', '0', '1.5', 'null']) {
    t.equal((await phone.uploadText(`{"next_source_change_id":${value},"changes":[]}`)).statusCode, 400, value)
  }
  await assertSound(t, sql, 'alice')
})
