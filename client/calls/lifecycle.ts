import type { ClientCore } from '../core.js'
import { SyncClientError } from '../errors.js'
import { readUser, type UserOption } from '../options.js'
import { claimFile } from '../sqlite/claim.js'
import { forgetUser, uninstall } from '../sqlite/forget.js'
import { transact } from '../sqlite/transaction.js'
import type { Session } from '../sync/session.js'

export interface LifecycleCalls {
  /** Gives the file to a user. What was changed before goes up as theirs. Throws `wrong_user` or `wrong_scope` where it has another. */
  signIn: (user: UserOption) => void
  /**
   * Takes the user off the file when the running call is over: the rows of the synced tables and all that the client knows are
   * gone. Rejects with `unsent_changes` (`error.unsent` tells how many) while there is work that only this device has, unless
   * forced. Capture goes on, for whoever signs in next. Resolves to the number of changes that were given up.
   */
  signOut: (options?: { force?: boolean }) => Promise<{ unsent: number }>
  /** As if the file had never been synced: as a forced signOut, and the file is another device from now on. */
  wipe: () => Promise<{ unsent: number }>
  /** For apps that stop syncing: removes the client's triggers and tables, leaves the app's rows, and closes. Refused like signOut while changes are unsent, unless forced. */
  uninstall: (options?: { force?: boolean }) => Promise<{ unsent: number }>
  /** Ends the loop and the running call, then closes the driver. Capture goes on: triggers live in the file. */
  close: () => Promise<void>
}

export function lifecycleCalls (core: ClientCore): LifecycleCalls {
  const { session } = core
  let closing: Promise<void> | null = null
  const close = async (): Promise<void> => {
    closing ??= core.shut().then(() => { session.driver.close() })
    await closing
  }

  return {
    signIn: option => core.now(() => {
      const user = readUser(option)
      transact(session.driver, () => claimFile(session.driver, user))
      session.user = user
      core.nudge()
    }),
    signOut: async ({ force = false } = {}) => await core.inTurn(async () => {
      const unsent = forgetUser(session, { newDevice: null, mayForget: force ? () => {} : refuseUnsent })
      startOver(session)
      return { unsent }
    }),
    wipe: async () => await core.inTurn(async () => {
      const unsent = forgetUser(session, { newDevice: session.settings, mayForget: () => {} })
      startOver(session)
      return { unsent }
    }),
    async uninstall ({ force = false } = {}) {
      let unsent = 0
      await core.inTurn(async () => {
        unsent = uninstall(session, force ? () => {} : refuseUnsent)
        core.forsake()
      })
      await close()
      return { unsent }
    },
    close
  }
}

function startOver (session: Session): void {
  session.user = null
  session.hasShakenHands = false
  session.batchSize = session.settings.uploadBatchSize
}

function refuseUnsent (unsent: number): void {
  if (unsent === 0) return
  throw new SyncClientError('unsent_changes', `${unsent} changed ${unsent === 1 ? 'row has' : 'rows have'} not reached the server. Sync first, settle what is held, or force it and lose them.`, { unsent })
}
