/**
 * JSON texts as one array, in one piece: a text that is put together of parts is copied once more before it is sent. Takes
 * the list over.
 */
export function jsonArray (elements: string[]): string {
  if (elements.length === 0) return '[]'
  elements[0] = `[${elements[0] as string}`
  elements[elements.length - 1] += ']'
  return elements.join(',')
}
