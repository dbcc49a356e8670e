import type { World } from './world.js'

export interface Scenario {
  name: string
  /** What it shows, in a sentence. */
  about: string
  /** The app's tables on its devices, where they are not the usual ones. */
  tables?: string
  /**
   * Tells the story of one user. It ends with every device of `world` in step and nothing unsent: the closing checks compare
   * them without another sync, which could repair what they look for.
   */
  play: (world: World) => Promise<void>
}
