const useColor = process.stdout.isTTY && process.env['NO_COLOR'] === undefined

export function paint (code: number, text: string): string {
  return useColor ? `\u001B[${code}m${text}\u001B[0m` : text
}

export function good (text: string): string {
  return paint(32, text)
}

export function bad (text: string): string {
  return paint(31, text)
}

/** A table with a heading row; columns are as wide as their widest cell. */
export function printTable (rows: string[][]): void {
  const widths = (rows[0] as string[]).map((_, column) => Math.max(...rows.map(row => (row[column] as string).length)))
  rows.forEach((row, i) => {
    console.log('   ' + row.map((cell, column) => cell.padEnd(widths[column] as number)).join('   ').trimEnd())
    if (i === 0) console.log('   ' + widths.map(width => '-'.repeat(width)).join('   '))
  })
}
