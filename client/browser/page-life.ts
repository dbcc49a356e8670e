interface PageScope {
  navigator?: { storage?: { persist?: () => Promise<boolean>, persisted?: () => Promise<boolean> } }
  document?: EventSource
  addEventListener?: EventSource['addEventListener']
  removeEventListener?: EventSource['addEventListener']
}

interface EventSource {
  addEventListener: (type: string, listener: (event: { persisted?: boolean }) => void) => void
  removeEventListener: (type: string, listener: (event: { persisted?: boolean }) => void) => void
}

const scope = globalThis as unknown as PageScope

/** A page that is frozen, or kept for "back", must not go on holding the database: other tabs would wait for it. */
export function followPageLife (tell: (isHere: boolean) => void): () => void {
  const { document } = scope
  const hide = ({ persisted }: { persisted?: boolean }): void => { if (persisted === true) tell(false) }
  const show = ({ persisted }: { persisted?: boolean }): void => { if (persisted === true) tell(true) }
  const freeze = (): void => tell(false)
  const resume = (): void => tell(true)
  scope.addEventListener?.('pagehide', hide)
  scope.addEventListener?.('pageshow', show)
  document?.addEventListener('freeze', freeze)
  document?.addEventListener('resume', resume)
  return () => {
    scope.removeEventListener?.('pagehide', hide)
    scope.removeEventListener?.('pageshow', show)
    document?.removeEventListener('freeze', freeze)
    document?.removeEventListener('resume', resume)
  }
}

/** Whether the browser will keep the data of this origin when space is short. */
export async function persistStorage (): Promise<boolean> {
  try {
    const { storage } = scope.navigator ?? {}
    return (await storage?.persisted?.()) === true || (await storage?.persist?.()) === true
  } catch {
    return false // an opaque origin, or a browser that refuses: nothing is lost by it
  }
}
