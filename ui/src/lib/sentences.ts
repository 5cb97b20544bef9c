/**
 * The part of a growing text that is made of whole sentences. A screen reader is given that:
 * announced token by token, an answer is noise.
 */
export function wholeSentences(text: string): string {
  const end = /^[\s\S]*(?:[.!?…:](?:["”’)\]]|\s*\[\d+\])*(?=\s)|\n)/.exec(text)
  return end ? end[0] : ''
}

/** An answer as it is read out: no citation marks, no Markdown. */
export function spoken(text: string): string {
  return text
    .replace(/```[^\n]*\n?/g, '')
    .replace(/\s?\[\d+(?:\s*[,;]\s*\d+)*\]/g, '')
    .replace(/[*_`#>|]+/g, '')
    .replace(/[ \t]+/g, ' ')
    .trim()
}
