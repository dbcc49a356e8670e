import fs from 'node:fs'
import t, { type Test } from 'tap'
import { chromium, type Page } from 'playwright-core'
import { buildServer } from '../../examples/server/build-server.js'
import { servePage } from '../../examples/browser/serve-page.js'
import { findBrowser } from '../browser/find-browser.js'
import { freshDb } from '../helpers/db.js'
import { runNode } from '../helpers/run.js'
import { waitFor } from '../helpers/wait-for.js'

t.test('the example shows notes, what waits, what was refused and what was decided', async t => {
  const { url, sql } = await freshDb(t)
  const app = await buildServer({ database: url, jwtSecret: 'secret-of-the-test', routes: servePage })
  t.teardown(() => app.close())
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  const browser = await chromium.launch({ executablePath: await findBrowser(), headless: true, args: ['--no-sandbox', '--disable-gpu'] })
  t.teardown(() => browser.close())
  const open = async (): Promise<Page> => {
    const page = await (await browser.newContext({ viewport: { width: 760, height: 640 } })).newPage()
    page.on('pageerror', error => t.fail(`an error in the page: ${error.message}`))
    await page.goto(`${origin}/notes`)
    return page
  }
  const [phone, laptop] = [await open(), await open()]
  const add = async (page: Page, title: string): Promise<void> => {
    await page.getByLabel('New note').fill(title)
    await page.getByRole('button', { name: 'Add' }).click()
  }
  const titles = async (page: Page): Promise<string[]> => (await page.locator('.title').evaluateAll(inputs => inputs.map(input => (input as unknown as { value: string }).value))).sort()
  const shows = async (page: Page, ...wanted: string[]): Promise<void> => {
    await waitFor(`titles ${wanted.join()}`, async () => (await titles(page)).join() === wanted.join())
  }

  await add(phone, 'Milk')
  await shows(laptop, 'Milk')
  for (const page of [phone, laptop]) await page.getByLabel('Work offline').check()
  await phone.getByLabel('Title').fill('Oat milk')
  await phone.getByLabel('Title').blur()
  await phone.getByText('1 change waits to be sent').waitFor()
  await laptop.getByLabel('Title').fill('Soy milk')
  await laptop.getByLabel('Title').blur()
  await laptop.getByText('1 change waits to be sent').waitFor()
  await phone.getByLabel('Work offline').uncheck()
  await phone.getByText('Everything is sent').waitFor()
  await laptop.getByLabel('Work offline').uncheck()
  await laptop.getByText('title: yours “Soy milk”, theirs “Oat milk”').waitFor()
  await shows(laptop, 'Oat milk')

  await add(laptop, 'Bread')
  await shows(phone, 'Bread', 'Oat milk')
  await laptop.getByLabel('Title').first().fill('')
  await laptop.getByLabel('Title').first().blur()
  await laptop.getByText('The server refused').waitFor()
  t.same((await sql`select title from business.posts order by title`).map(row => row['title']), ['Bread', 'Oat milk'])
  await screenshot(t, laptop)
  await laptop.getByText('Give up my change').click()
  await shows(laptop, 'Bread', 'Oat milk')
  await phone.getByRole('button', { name: 'Delete' }).first().click()
  await waitFor('a note less', async () => (await titles(laptop)).length === 1)
})

t.test('npm run example:browser says where the page is', async t => {
  const server = runNode(t, ['--import=tsx', 'examples/browser/index.ts'], { DATABASE_URL: undefined, PORT: '0' })
  const [, address] = await server.printed(/Notes in the browser: (\S+)/)
  const page = await fetch(address as string)
  t.match(await page.text(), '<h1>Notes</h1>')
  server.process.kill('SIGTERM')
  t.equal(await server.ended(), 0)
})

/** For a person to look at: SCREENSHOT names the file. */
async function screenshot (t: Test, page: Page): Promise<void> {
  const file = process.env['SCREENSHOT']
  if (file === undefined) return
  await page.screenshot({ path: file })
  t.ok(fs.existsSync(file))
}
