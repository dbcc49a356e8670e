/** Arithmetic on the text of numbers: JavaScript's own numbers would round what must stay exact. */

const INT64_MIN = -(2n ** 63n)
const INT64_MAX = 2n ** 63n - 1n

export function inInt64 (digits: string): boolean {
  if (digits.length <= 18) return true
  if (digits.length > 20) return false
  const value = BigInt(digits)
  return value >= INT64_MIN && value <= INT64_MAX
}

/** Digits that count: without sign, point, exponent, leading and trailing zeros. */
function significantDigits (literal: string): string {
  return literal.replace(/[eE].*$/, '').replace(/[-+.]/g, '').replace(/^0+/, '').replace(/0+$/, '')
}

/**
 * Whether a double keeps this number: an integer exactly; a decimal if it is, zeros aside, what the double prints, as
 * PostgreSQL or JavaScript prints it. Any other would go back to the server as another number.
 */
export function fitsDouble (literal: string): boolean {
  const value = Number(literal)
  if (!Number.isFinite(value)) return false
  const digits = significantDigits(literal)
  if (value === 0) return digits === ''
  if (/^-?\d+$/.test(literal)) return BigInt(value) === BigInt(literal)
  if (digits === significantDigits(String(value))) return true
  // Beyond 2^53 JavaScript may print the number half-way to the next double. PostgreSQL avoids it, and prints a digit more.
  return /[eE]/.test(literal) && Number.isInteger(value) && digits.length === 17 && digits === significantDigits(value.toPrecision(17))
}
