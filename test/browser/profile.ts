import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { chromium, type BrowserContext, type Page } from 'playwright-core'
import type { Test } from 'tap'
import { waitFor } from '../helpers/wait-for.js'
import type { TestApp } from './app/page.js'
import { findBrowser } from './find-browser.js'

/** One person's browser: what it stores stays for as long as the test, also when it is closed and started again. */
export interface Profile {
  context: () => BrowserContext
  /** Opens the page in a new tab. */
  open: (url: string) => Promise<Tab>
  /** Ends the browser's processes and starts it again. */
  restart: () => Promise<void>
}

export interface Tab {
  page: Page
  /** Runs a function in the page, which gets what the page's app has. */
  do: <Arg, Result>(fn: (app: TestApp, arg: Arg) => Result | Promise<Result>, arg?: Arg) => Promise<Result>
  /** Texts of the notes in this tab's database, in order. */
  notes: () => Promise<string[]>
  add: (...texts: string[]) => Promise<void>
  sync: () => Promise<void>
  role: () => Promise<string>
  /** Waits for an event that this page got. */
  heard: (name: string, fits?: (event: never) => boolean) => Promise<unknown>
}

export async function createProfile (t: Test): Promise<Profile> {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'oversync-browser-'))
  const executablePath = await findBrowser()
  const launch = async (): Promise<BrowserContext> => await chromium.launchPersistentContext(folder, {
    executablePath, headless: true, ignoreDefaultArgs: ['--disable-back-forward-cache'], args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] // root, as in a container, has no sandbox
  })
  let context = await launch()
  t.teardown(async () => {
    await context.close()
    await fs.rm(folder, { recursive: true, force: true, maxRetries: 5 })
  })
  return {
    context: () => context,
    async open (url) {
      const page = await context.newPage()
      page.setDefaultTimeout(20_000)
      page.on('pageerror', error => t.fail(`an error in the page: ${error.message}`))
      await page.goto(url)
      await page.waitForFunction('globalThis.app')
      return tabOf(page)
    },
    async restart () {
      await context.close()
      context = await launch()
    }
  }
}

function tabOf (page: Page): Tab {
  // As text: tsx gives functions names by a helper that the page does not have.
  const inPage: Tab['do'] = async (fn, arg) => await page.evaluate(`globalThis.__name ??= fn => fn; (${String(fn)})(globalThis.app, ${JSON.stringify(arg) ?? 'undefined'})`)
  const tab: Tab = {
    page,
    do: inPage,
    notes: async () => (await inPage(async ({ db }) => await db.all<{ text: string }>('select text from notes order by text'))).map(({ text }) => text),
    add: async (...texts) => await inPage(async ({ db }, texts) => {
      await db.transaction(texts.map(text => ({ sql: 'insert into notes (id, text) values (?, ?)', params: [globalThis.crypto.randomUUID(), text] })))
    }, texts),
    sync: async () => { await inPage(async ({ db }) => await db.sync.syncOnce()) },
    role: async () => await inPage(({ db }) => db.role()),
    heard: async (name, fits = () => true) => await waitFor(`event ${name}`, async () =>
      (await inPage(({ events }) => events)).find(item => item.name === name && fits(item.event as never))?.event ?? null)
  }
  return tab
}
