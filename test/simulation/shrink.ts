import type { Servers } from './server.js'
import { tellStory } from './simulate.js'
import type { Step, Story } from './story.js'

/** Stories told in search of a shorter one. */
const MAX_ATTEMPTS = 300

/** Leaves out steps, then faults, as long as the story still breaks a promise. */
export async function shrink (servers: Servers, story: Story): Promise<{ story: Story, message: string }> {
  let best = story
  let message = ''
  let attempts = 0
  const fails = async (steps: Step[]): Promise<boolean> => {
    if (++attempts > MAX_ATTEMPTS) return false
    const shorter = { ...best, steps }
    const error = await tellStory(servers, shorter)
    if (error === null) return false
    best = shorter
    message = error.message
    return true
  }
  if (!await fails(story.steps)) return { story, message: 'It did not fail again: its outcome depends on which of two requests was faster.' }
  for (let size = best.steps.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at < best.steps.length;) {
      if (!await fails([...best.steps.slice(0, at), ...best.steps.slice(at + size)])) at += size
    }
  }
  for (let at = 0; at < best.steps.length; at++) {
    for (const simpler of simplifications(best.steps[at] as Step)) await fails(best.steps.with(at, simpler))
  }
  return { story: best, message }
}

/** Simpler forms of a step, the boldest first. */
function simplifications (step: Step): Step[] {
  if (step.do === 'edit') {
    const { statements } = step.edit
    return statements.length === 1 ? [] : statements.map((_, i) => ({ ...step, edit: { ...step.edit, statements: statements.toSpliced(i, 1) } }))
  }
  if (step.do !== 'call') return []
  const { crashAt, ...alive } = step
  return [
    ...(step.fates.length > 0 ? [{ ...step, fates: [] }] : []),
    ...(crashAt === undefined ? [] : [alive]),
    ...(Object.keys(step.during).length > 0 ? [{ ...step, during: {} }] : []),
    ...step.fates.map((_, i) => ({ ...step, fates: step.fates.with(i, 'deliver') }))
  ]
}
