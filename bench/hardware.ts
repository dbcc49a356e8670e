import os from 'node:os'
import postgres from 'postgres'
import type { Stage } from './stage.js'

/** What the figures depend on; nothing that names the machine. */
export async function describeHardware ({ url }: Stage): Promise<string[]> {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  try {
    const settings = await sql<Array<{ name: string, setting: string, unit: string | null }>>`
      select name, setting, unit from pg_settings
      where name in ('server_version', 'fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers', 'max_wal_size') order by name`
    const cpus = os.cpus()
    return [
      `${cpus.length} × ${cpus[0]?.model.trim() ?? 'unknown processor'}, ${Math.round(os.totalmem() / 2 ** 30)} GB, ${os.platform()} ${os.arch()}; load generator, server and PostgreSQL share it`,
      `Node ${process.versions.node}; PostgreSQL: ${settings.map(({ name, setting, unit }) => `${name} ${setting}${unit === null ? '' : ` × ${unit}`}`).join(', ')}`,
      `load average at the start ${os.loadavg().map(load => load.toFixed(1)).join(' ')}`
    ]
  } finally {
    await sql.end()
  }
}
