import { createReadStream, readFileSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'

import react from '@vitejs/plugin-react'
import type { Plugin } from 'vite'
import { defineConfig } from 'vitest/config'

/**
 * What a page may load. The window gets the same policy from tauri.conf.json; this one also
 * covers the browser. It is left out of the development server, whose reload client is inline.
 */
const CONTENT_SECURITY_POLICY = [
  "default-src 'self'",
  // Decoders of scanned pages; without them such a page stays empty.
  "script-src 'self' 'wasm-unsafe-eval'",
  "img-src 'self' blob: data:",
  "connect-src 'self' ipc: http://ipc.localhost",
  "style-src 'self' 'unsafe-inline'",
  "worker-src 'self' blob:",
  "frame-src 'none'",
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ')

function contentSecurityPolicy(): Plugin {
  return {
    name: 'content-security-policy',
    apply: 'build',
    transformIndexHtml: () => [
      {
        tag: 'meta',
        attrs: { 'http-equiv': 'Content-Security-Policy', content: CONTENT_SECURITY_POLICY },
        injectTo: 'head-prepend',
      },
    ],
  }
}

/** What pdf.js asks for by URL (character maps, fonts, decoders), served from this origin. */
function pdfAssets(): Plugin {
  const root = path.dirname(createRequire(import.meta.url).resolve('pdfjs-dist/package.json'))
  const folders = ['cmaps', 'standard_fonts', 'wasm']
  return {
    name: 'pdf-assets',
    configureServer(server) {
      server.middlewares.use('/pdf', (request, response, next) => {
        const [folder = '', file = ''] = (request.url ?? '').split('?')[0]!.slice(1).split('/')
        if (!folders.includes(folder) || !/^[\w.-]+$/.test(file)) return next()
        createReadStream(path.join(root, folder, file)).on('error', next).pipe(response)
      })
    },
    generateBundle() {
      for (const folder of folders) {
        for (const file of readdirSync(path.join(root, folder))) {
          const source = readFileSync(path.join(root, folder, file))
          this.emitFile({ type: 'asset', fileName: `pdf/${folder}/${file}`, source })
        }
      }
    },
  }
}

export default defineConfig({
  plugins: [react(), contentSecurityPolicy(), pdfAssets()],
  build: {
    // WebKitGTK 2.40 and later.
    target: ['es2022', 'safari16.4'],
    // Fonts and images stay files: the policy has no `font-src data:`.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1000,
  },
  server: {
    port: 5173,
    strictPort: true,
    proxy: { '/api': process.env['DOCENT_API'] ?? 'http://127.0.0.1:7466' },
  },
  test: {
    include: ['src/**/*.test.{ts,tsx}'],
    environment: 'node',
    restoreMocks: true,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
