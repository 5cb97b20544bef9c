import { describe, expect, it } from 'vitest'

import { encodeMultipart } from './multipart'

async function bytesOf(parts: (Uint8Array<ArrayBuffer> | Blob)[]): Promise<Uint8Array> {
  return new Uint8Array(await new Blob(parts).arrayBuffer())
}

describe('encodeMultipart', () => {
  it('writes exactly these bytes', async () => {
    const form = new FormData()
    form.append('note', 'a\nb')
    form.append('file', new File([new Uint8Array([0, 255, 13, 10])], 'žaba "1".pdf', { type: 'application/pdf' }))
    const { contentType, parts } = encodeMultipart(form, 'xyz')
    expect(contentType).toBe('multipart/form-data; boundary=xyz')
    const expected = [
      '--xyz\r\nContent-Disposition: form-data; name="note"\r\n\r\na\r\nb\r\n',
      '--xyz\r\nContent-Disposition: form-data; name="file"; filename="žaba %221%22.pdf"\r\n',
      'Content-Type: application/pdf\r\n\r\n',
    ].join('')
    const text = new TextEncoder()
    expect(await bytesOf(parts)).toEqual(
      new Uint8Array([
        ...text.encode(expected),
        0,
        255,
        13,
        10,
        ...text.encode('\r\n--xyz--\r\n'),
      ]),
    )
  })

  it('is read back by a parser as what went in', async () => {
    const form = new FormData()
    form.append('file', new File(['prvi'], 'a.txt', { type: 'text/plain' }))
    form.append('file', new File([], 'prazna\r\ndatoteka.bin'))
    const { contentType, parts } = encodeMultipart(form, 'boundary-1')
    const response = new Response(await new Blob(parts).arrayBuffer(), {
      headers: { 'content-type': contentType },
    })
    const files = (await response.formData()).getAll('file') as File[]
    expect(await Promise.all(files.map((file) => file.text()))).toEqual(['prvi', ''])
    expect(files.map((file) => file.type)).toEqual(['text/plain', 'application/octet-stream'])
  })

  it('ends a form without fields', async () => {
    const { parts } = encodeMultipart(new FormData(), 'b')
    expect(new TextDecoder().decode(await bytesOf(parts))).toBe('--b--\r\n')
  })
})
