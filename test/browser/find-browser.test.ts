import fs from 'node:fs'
import path from 'node:path'
import t from 'tap'
import { findBrowser } from './find-browser.js'

t.test('CHROME_PATH comes first, then PATH; a wrong CHROME_PATH is an error that names it', async t => {
  const folder = t.testdir({ chromium: '#!/bin/sh\n', other: '#!/bin/sh\n', no: { chromium: 'not executable' } })
  const file = (name: string): string => path.join(folder, name)
  for (const name of ['chromium', 'other']) fs.chmodSync(file(name), 0o755)
  t.equal(await findBrowser({ CHROME_PATH: file('other'), PATH: folder }), file('other'))
  t.equal(await findBrowser({ PATH: [file('no'), folder].join(path.delimiter) }), file('chromium'))
  t.equal(await findBrowser({ CHROME_PATH: '', PATH: folder }), file('chromium'))
  await t.rejects(findBrowser({ CHROME_PATH: file('absent'), PATH: folder }), /CHROME_PATH names .*absent/)
})

t.test('where there is none the message says what to install, unless npm brings one', async t => {
  const found = await findBrowser({ PATH: '' }).catch((error: Error) => error)
  if (typeof found === 'string') t.ok(fs.existsSync(found))
  else t.match(found.message, /apt-get install chromium.*@sparticuz\/chromium.*CHROME_PATH/)
})
