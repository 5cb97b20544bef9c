/**
 * An answer as Markdown. The text comes from a model that read strangers' documents, so it has no
 * authority: no HTML, no image is fetched, a link shows where it leads and opens on a second click.
 */
import { memo, type ReactNode } from 'react'
import ReactMarkdown, { type Components } from 'react-markdown'
import remarkGfm from 'remark-gfm'

import { rehypeCitations } from '../lib/citations'
import { useI18n } from '../lib/i18n'
import { ExternalLink } from './ExternalLink'
import styles from './Markdown.module.css'

interface MarkdownProps {
  text: string
  /** Whether `[n]` is a passage; others stay text. */
  citationExists: (n: number) => boolean
  renderCitation: (n: number) => ReactNode
}

declare module 'react' {
  // eslint-disable-next-line @typescript-eslint/no-namespace
  namespace JSX {
    interface IntrinsicElements {
      'citation-ref': { n: number }
    }
  }
}

const remarkPlugins = [remarkGfm]

export const Markdown = memo(function Markdown({
  text,
  citationExists,
  renderCitation,
}: MarkdownProps) {
  const components: Components = {
    a: ({ href, children }) => <ExternalLink href={href ?? ''}>{children}</ExternalLink>,
    img: ({ alt }) => <BlockedImage alt={alt ?? ''} />,
    // Headings of an answer stand below the question's.
    h1: ({ children }) => <h3>{children}</h3>,
    h2: ({ children }) => <h3>{children}</h3>,
    h3: ({ children }) => <h4>{children}</h4>,
    table: ({ children }) => (
      <div className={styles.tableScroll} tabIndex={0} role="group">
        <table>{children}</table>
      </div>
    ),
    'citation-ref': ({ n }: { n: number }) => renderCitation(Number(n)),
  }
  return (
    <div className={styles.markdown}>
      <ReactMarkdown
        remarkPlugins={remarkPlugins}
        rehypePlugins={[[rehypeCitations, { exists: citationExists }]]}
        components={components}
      >
        {text}
      </ReactMarkdown>
    </div>
  )
})

function BlockedImage({ alt }: { alt: string }) {
  const { t } = useI18n()
  return <span className={styles.image}>[{t('image.blocked', { alt: alt || t('image.noAlt') })}]</span>
}
