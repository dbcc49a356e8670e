import type { Resolver } from 'fastify-oversync/client'
import type { AppDatabase } from './app-database.js'

/**
 * Two devices changed the same post. Its title goes to the server's; of its content nothing is lost: what each of them wrote is
 * kept, one below the other. Columns that an answer does not name are merged as usual.
 */
export const mergePosts: Resolver<AppDatabase, 'posts'> = ({ local, server, columns }) => {
  if (!columns.includes('content')) return 'take'
  return { content: `${server.content}\n---\n${local.content}` }
}
