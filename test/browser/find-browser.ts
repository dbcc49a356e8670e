import fs from 'node:fs'
import path from 'node:path'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

/** Chromium for the tests: CHROME_PATH, else one on PATH, else that of the npm package `@sparticuz/chromium`. Throws where there is none. */
export async function findBrowser (env: NodeJS.ProcessEnv = process.env): Promise<string> {
  if (env['CHROME_PATH'] !== undefined && env['CHROME_PATH'] !== '') {
    if (isProgram(env['CHROME_PATH'])) return env['CHROME_PATH']
    throw new Error(`CHROME_PATH names ${env['CHROME_PATH']}, which is no program.`)
  }
  for (const folder of (env['PATH'] ?? '').split(path.delimiter)) {
    for (const name of NAMES) {
      const file = path.join(folder, name)
      if (folder !== '' && isProgram(file)) return file
    }
  }
  const packed = await unpacked()
  if (packed !== null) return packed
  throw new Error('The browser tests need Chromium or Chrome. Install one (Debian: apt-get install chromium; or npm install --no-save @sparticuz/chromium), or set CHROME_PATH to its program.')
}

/** The package brings the program for Linux x64, packed; it is unpacked into the temporary folder once. */
async function unpacked (): Promise<string | null> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return null
  const name = '@sparticuz/chromium' // by a variable: the types must not need a package that need not be there
  const found = await import(name).catch(() => null) as { default: { executablePath: () => Promise<string> } } | null
  return await found?.default.executablePath() ?? null
}

function isProgram (file: string): boolean {
  try {
    fs.accessSync(file, fs.constants.X_OK)
    return fs.statSync(file).isFile()
  } catch {
    return false
  }
}
