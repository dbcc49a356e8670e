import type { CompiledQuery, Transaction } from 'kysely'
import type { Identity } from '../options.js'
import type { Spend } from '../storage/change-log.js'
import type { Database } from '../storage/database.js'
import type { Metadata } from '../storage/metadata.js'
import type { Source } from '../storage/source.js'
import type { Stream } from '../storage/stream.js'
import type { Judgement } from './decide.js'
import { numberEntries, readShownPayloads, recordStatements } from './record.js'
import type { ServerChange } from './server-changes.js'
import { statusesOf, uploadReply, type UploadResult } from './upload-reply.js'

export interface ConcludeContext {
  trx: Transaction<Database>
  metadata: Metadata
  identity: Required<Identity>
  stream: Stream
  source: Source
  spend: Spend
}

/** What an upload is answered once it is stored, and the statements that store it. */
export interface Conclusion {
  reply: UploadResult
  /** The transaction's last; none where the batch adds nothing to the stream. */
  statements: CompiledQuery[]
}

/** Gives everything that a batch adds to the stream its position. Sends nothing that writes. */
export async function conclude ({ trx, metadata, identity, stream, source, spend }: ConcludeContext, judgement: Judgement, serverChanges: ServerChange[]): Promise<Conclusion> {
  const payloads = await readShownPayloads(trx, metadata, stream, judgement, spend)
  const numbered = numberEntries(stream, source, judgement, serverChanges)
  const statuses = statusesOf({ judgement, payloads, spend, nextSourceChangeId: numbered.maxChangeId + 1 })
  return { reply: uploadReply(statuses, { head: numbered.head, epoch: stream.epoch, sourceId: identity.deviceId }), statements: recordStatements(trx, metadata, stream, source, judgement, numbered) }
}
