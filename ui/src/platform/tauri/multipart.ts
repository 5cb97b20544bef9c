/**
 * multipart/form-data by hand (RFC 7578). A `FormData` that holds files cannot be read back from
 * a `Request` on WebKitGTK, and a Blob handed to a custom scheme ends the process, so the tunnel
 * never gives either of them to the webview's own code.
 */

export interface Multipart {
  contentType: string
  /** In order; joined they are the body. Files are kept as they are until they are read. */
  parts: (Uint8Array<ArrayBuffer> | Blob)[]
}

export function encodeMultipart(form: FormData, boundary: string): Multipart {
  const text = new TextEncoder()
  const parts: (Uint8Array<ArrayBuffer> | Blob)[] = []
  form.forEach((value, name) => {
    const disposition = `--${boundary}\r\nContent-Disposition: form-data; name="${escape(name)}"`
    if (typeof value === 'string') {
      parts.push(text.encode(`${disposition}\r\n\r\n${value.replace(/\r\n?|\n/g, '\r\n')}\r\n`))
      return
    }
    const type = value.type || 'application/octet-stream'
    parts.push(
      text.encode(`${disposition}; filename="${escape(value.name)}"\r\nContent-Type: ${type}\r\n\r\n`),
      value,
      text.encode('\r\n'),
    )
  })
  parts.push(text.encode(`--${boundary}--\r\n`))
  return { contentType: `multipart/form-data; boundary=${boundary}`, parts }
}

/** As the HTML standard escapes names: the three characters that would end or break the header. */
function escape(name: string): string {
  return name.replace(/\n/g, '%0A').replace(/\r/g, '%0D').replace(/"/g, '%22')
}
