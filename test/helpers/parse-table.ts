/** Rows of a table written as text: the first line names the columns, two blanks or more stand between cells. */
export function parseTable (text: string): Array<Record<string, string>> {
  const [head, ...lines] = text.trim().split('\n').map(line => line.trim().split(/ {2,}/))
  return lines.map((cells, i) => {
    if (cells.length !== head?.length) throw new Error(`Line ${i + 2} has ${cells.length} cells, not ${head?.length as number}: ${cells.join(' | ')}`)
    return Object.fromEntries(cells.map((cell, column) => [head[column] as string, cell]))
  })
}
