import type { ClientCore } from '../core.js'

export interface LifecycleCalls {
  /** Ends the loop and the running call, then closes the driver. Capture goes on: triggers live in the file. */
  close: () => Promise<void>
}

export function lifecycleCalls (core: ClientCore): LifecycleCalls {
  let closing: Promise<void> | null = null
  return {
    close () {
      closing ??= core.shut().then(() => { core.session.driver.close() })
      return closing
    }
  }
}
