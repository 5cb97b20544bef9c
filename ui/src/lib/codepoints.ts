/**
 * The core counts Unicode scalar values, JavaScript counts UTF-16 code units. They differ by one
 * for every character outside the basic plane that comes before.
 */
export class CodePointIndex {
  /** Scalar offsets of the characters that take two code units, ascending. */
  readonly #wide: number[] = []
  readonly #length: number

  constructor(text: string) {
    let scalar = 0
    for (let unit = 0; unit < text.length; unit += 1) {
      const lead = text.charCodeAt(unit)
      if (lead >= 0xd800 && lead <= 0xdbff && isTrail(text.charCodeAt(unit + 1))) {
        this.#wide.push(scalar)
        unit += 1
      }
      scalar += 1
    }
    this.#length = text.length
  }

  /** The UTF-16 offset of a scalar offset, held within the text. */
  toUtf16(scalar: number): number {
    let low = 0
    let high = this.#wide.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#wide[middle] as number) < scalar) low = middle + 1
      else high = middle
    }
    return Math.min(Math.max(0, scalar) + low, this.#length)
  }
}

function isTrail(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff
}
