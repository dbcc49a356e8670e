import fs from 'node:fs'
import path from 'node:path'
import { parseArgs, type ParseArgsConfig } from 'node:util'

/** A sentence for whoever typed the command. */
export class UsageError extends Error {}

/** The values of a command's options. Throws a UsageError where one is unknown or lacks its value. */
export function readArguments<const Options extends NonNullable<ParseArgsConfig['options']>> (args: string[], options: Options) {
  try {
    return parseArgs({ args, options }).values
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

export function readCount (option: string, text: string, max: number): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < 1 || value > max) throw new UsageError(`${option} must be a whole number from 1 to ${max}, not "${text}".`)
  return value
}

/** A file to write in the end. Found out now: a long run must not end in one that cannot be written. */
export function readOutputFile (option: string, file: string): string {
  const folder = path.dirname(path.resolve(file))
  if (!fs.existsSync(folder)) throw new UsageError(`${option}: there is no folder ${folder}.`)
  if (fs.existsSync(file) && fs.statSync(file).isDirectory()) throw new UsageError(`${option}: ${file} is a folder.`)
  return file
}
