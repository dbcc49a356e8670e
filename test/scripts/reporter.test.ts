import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
// @ts-expect-error -- plain JavaScript without types: tap loads it as it is
import Reporter from '../helpers/reporter.mjs'

t.test('assertions are counted wherever they are nested', async t => {
  const output = await report(t, `
1..1
# Subtest: test/a.test.ts
    # Subtest: outer
        # Subtest: inner
            ok 1 - one
            ok 2 - two
            1..2
        ok 1 - inner
        ok 2 - three
        1..2
    ok 1 - outer
    1..1
ok 1 - test/a.test.ts # time=1234ms
`)
  t.equal(output, 'ok test/a.test.ts (3, 1.2 s)\n3 passed, 0 failed\n')
  t.equal(process.exitCode, undefined)
})

t.test('a failure is shown with its path and its diagnostics, and counted once', async t => {
  const output = await report(t, `
1..1
# Subtest: test/a.test.ts
    # Subtest: outer
        ok 1 - fine
        not ok 2 - should be equal
          ---
          diff: |
            -1
            +2
          at:
            fileName: test/a.test.ts
            lineNumber: 3
            columnNumber: 7
          ...
        1..2
    not ok 1 - outer
    1..1
not ok 1 - test/a.test.ts
`)
  t.match(output, '  failed: test/a.test.ts > outer > should be equal\n    diff: \n      -1\n      +2\n    at: test/a.test.ts:3:7\n')
  t.equal(lastLine(output), '1 passed, 1 failed')
})

t.test('a file that crashed without a failed assertion is a failure', async t => {
  const output = await report(t, `
1..1
# Subtest: test/a.test.ts
    ok 1 - one
    # test count(1) != plan(null)
not ok 1 - test/a.test.ts
  ---
  exitCode: null
  signal: SIGKILL
  ...
`)
  t.match(output, '  failed: test/a.test.ts\n    signal: SIGKILL\n')
  t.equal(lastLine(output), '1 passed, 1 failed')
})

t.test('a file that ran out of time is a failure under its own name', async t => {
  const output = await report(t, `
1..1
not ok 1 - timeout!
  ---
  expired: test/a.test.ts
  ...
`)
  t.match(output, '  failed: test/a.test.ts > timeout!\n')
  t.equal(lastLine(output), '0 passed, 1 failed')
})

t.test('what was left out is shown and counted', async t => {
  const output = await report(t, `
1..1
# Subtest: test/a.test.ts
    ok 1 - later # SKIP no network
    ok 2 - some day # TODO
    ok 3 - one
    1..3
ok 1 - test/a.test.ts
`)
  t.match(output, '  skipped: test/a.test.ts > later (no network)\n')
  t.equal(lastLine(output), '1 passed, 0 failed, 2 skipped')
})

t.test('a run that broke off or had nothing to run is a failure', async t => {
  t.equal(lastLine(await report(t, '1..2\nok 1 - test/a.test.ts\n')), '1 passed, 1 failed')
  t.equal(lastLine(await report(t, '')), '0 passed, 1 failed')
  t.equal(lastLine(await report(t, '1..1\nBail out! enough\n')), '0 passed, 1 failed')
})

/** What the reporter writes about a run; that it sets the exit code is checked and undone. */
async function report (t: Test, tapOutput: string): Promise<string> {
  const before = process.exitCode
  const reporter = new Reporter()
  reporter.end(`TAP version 14\n${tapOutput.trimStart()}`)
  const output = await text(reporter)
  const failed = !/ 0 failed/.test(lastLine(output))
  t.equal(process.exitCode, failed ? 1 : before, `the exit code says that it ${failed ? 'failed' : 'passed'}`)
  process.exitCode = before
  return output
}

function lastLine (output: string): string {
  return output.trimEnd().split('\n').at(-1) as string
}
