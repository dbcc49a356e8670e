import { paint } from '../common/terminal.js'

/* Prints the story: a heading for each scene, and below it what happened, one fact a line. */

let scene = 0

export function heading (text: string): void {
  console.log(`\n${paint(1, `${++scene}. ${text}`)}`)
}

export function say (who: string, text: string): void {
  console.log(`   ${paint(36, who.padEnd(11))} ${text}`)
}

export function plain (text = ''): void {
  console.log(text)
}
