import { SyncClientError } from '../errors.js'
import { Host } from './host.js'
import type { OpenDatabase } from './perform.js'
import type { Platform } from './platform.js'
import { packError } from './portable.js'
import { PROTOCOL, type ToPage } from './protocol.js'
import { Router } from './router.js'
import { Team } from './team.js'

export interface ServeOptions {
  name: string
  build: string
  platform: Platform
  open: (signal: AbortSignal) => Promise<OpenDatabase>
}

/** One tab's worker: its pages' calls go through the router to the leader, which may be the host here. */
export function serve ({ name, build, platform, open }: ServeOptions): void {
  const fullBuild = `${PROTOCOL}:${build}`
  let host: Host | null = null
  const router = new Router({
    build: fullBuild,
    isLeading: () => team.isLeading,
    send: message => team.send(message),
    async onPages (areThere) {
      if (areThere) return await team.join()
      await team.leave()
      router.onNoLeader()
    }
  })
  const team: Team = new Team(name, fullBuild, platform, {
    events: () => router.events(),
    onLeader: leader => router.onLeader(leader),
    fromLeader: message => router.fromLeader(message),
    lead (term) {
      host = new Host({
        open,
        wish: router.wish,
        sendTo: (tab, message) => team.sendTo(tab, message),
        sendToAll: message => team.sendToAll(message),
        onKnown: known => team.update(known)
      })
      return { type: 'leader', term, build: fullBuild, storage: null, wish: router.wish }
    },
    toLeader: (from, message) => host?.receive(from, message),
    onOtherBuild: theirs => router.tellOtherBuild(theirs), // followers are of the leader's build, and the newcomer's page is told by itself
    onGone: from => host?.gone(from),
    async resign () {
      await host?.stop()
      host = null
    }
  })
  platform.acceptPages(name, (port, protocol) => {
    if (protocol === PROTOCOL) return router.addPage(port)
    const error = new SyncClientError('other_build', 'The page and its worker are of different versions of the app. Reload the page.')
    port.postMessage({ type: 'refused', error: packError(error) } satisfies ToPage)
  })
}
