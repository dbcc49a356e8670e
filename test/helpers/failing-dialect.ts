import type { Driver } from 'kysely'
import { PostgresJSDialect } from '../../src/storage/postgres-js-dialect.js'
import { watchStatements } from './every-statement.js'

/** The next faults: the statement that `at` names fails as if PostgreSQL had said `sqlstate`, and so do those after it, `times` in all. */
export interface Faults {
  sqlstate: string
  at: number
  times: number
  /** Statements sent since this was last set to 0; those that failed are counted too. */
  seen: number
}

/** The plugin's dialect, whose statements fail on purpose. A fault comes before its statement is sent; ROLLBACK is spared. */
export class FailingDialect extends PostgresJSDialect {
  readonly faults: Faults = { sqlstate: '', at: Infinity, times: 0, seen: 0 }

  override createDriver (): Driver {
    const driver = super.createDriver()
    watchStatements(driver, {
      before: query => {
        this.faults.seen++
        if (query.sql.startsWith('rollback') || this.faults.seen < this.faults.at || this.faults.times <= 0) return
        this.faults.times--
        throw Object.assign(new Error('injected'), { code: this.faults.sqlstate, severity: 'ERROR' })
      },
      isClose: () => this.faults.times > 0
    })
    return driver
  }
}
