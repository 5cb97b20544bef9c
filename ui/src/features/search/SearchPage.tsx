import { useQuery } from '@tanstack/react-query'
import { Search } from 'lucide-react'
import { useEffect, useRef, useState, type FormEvent } from 'react'

import { asApiError } from '../../api/errors'
import { queries, useApi } from '../../api/queries'
import type { SearchHit, Workspace } from '../../api/types'
import { Button } from '../../components/Button'
import { EmptyState } from '../../components/EmptyState'
import { ErrorNotice } from '../../components/ErrorNotice'
import { Progress } from '../../components/Progress'
import { useI18n } from '../../lib/i18n'
import { targetOf, usePassagePanel, type PassageTarget } from '../../lib/passage'
import { folderOf } from '../../lib/paths'
import { headingsBeside, placeLabel } from '../../lib/place'
import { splitTitle } from '../../lib/titles'
import styles from './SearchPage.module.css'

interface SearchPageProps {
  workspace: Workspace
  q: string
  expand: boolean
  onSearch: (q: string, expand: boolean) => void
}

/** The passages themselves, without an answer. */
export function SearchPage({ workspace, q, expand, onSearch }: SearchPageProps) {
  const i18n = useI18n()
  const { t } = i18n
  const api = useApi()
  const { open } = usePassagePanel()
  const [text, setText] = useState(q)
  const field = useRef<HTMLInputElement>(null)
  const search = useQuery(queries.search(api, workspace.id, q, expand))
  const hits = (q && search.data?.hits) || []
  const expansion = search.data?.expansion
  const widened = [expansion?.translation, expansion?.hypothetical].filter(Boolean).join(' · ')

  useEffect(() => field.current?.focus(), [])

  const submit = (event: FormEvent) => {
    event.preventDefault()
    if (text.trim()) onSearch(text.trim(), expand)
  }
  return (
    <div className={styles.scroller}>
      <div className={styles.column}>
        <h1 className={styles.title}>{t('search.title')}</h1>
        <p className={styles.hint}>{t('search.hint')}</p>
        <form className={styles.form} onSubmit={submit} role="search">
          <label className={styles.box}>
            <Search size={17} aria-hidden />
            <input
              ref={field}
              type="search"
              value={text}
              onChange={(event) => setText(event.target.value)}
              placeholder={t('search.placeholder')}
              aria-label={t('search.placeholder')}
            />
          </label>
          <Button type="submit" look="primary" disabled={!text.trim()}>
            {t('search.submit')}
          </Button>
        </form>
        <label className={styles.expand} title={t('search.expandHint')}>
          <input
            type="checkbox"
            checked={expand}
            onChange={(event) => onSearch(q, event.target.checked)}
          />
          {t('search.expand')}
          <span className={styles.expandHint}>{t('search.expandHint')}</span>
        </label>

        <div aria-live="polite">
          {search.isFetching && q && (
            <Progress label={t('common.loading')} done={0} total={0} className={styles.progress} />
          )}
          {search.isError && (
            <ErrorNotice
              title={t(`error.${asApiError(search.error).code}`)}
              message={asApiError(search.error).message}
              hint={asApiError(search.error).hint}
              onRetry={() => void search.refetch()}
            />
          )}
          {q && search.isSuccess && !search.isFetching && hits.length === 0 && (
            <EmptyState title={t('search.none')}>{t('search.noneHint')}</EmptyState>
          )}
          {hits.length > 0 && (
            <p className={styles.count}>
              {t('search.results', { count: hits.length })}
              {widened && <> · {t('search.widened', { text: widened })}</>}
            </p>
          )}
        </div>
        <ol className={styles.hits}>
          {hits.map((hit, index) => (
            <li key={`${hit.document_id}-${hit.chunk}`}>
              <button
                type="button"
                className={styles.hit}
                onClick={() => open(hits.map(hitTarget), index)}
              >
                <span className={styles.line}>
                  <span className={styles.name}>{splitTitle(hit.title).document}</span>
                  {placeLabel(i18n, hit) !== null && (
                    <span className={styles.page}>{placeLabel(i18n, hit)}</span>
                  )}
                  <span className={styles.section}>
                    {headingsBeside(splitTitle(hit.title).headings, hit.place).at(-1)}
                  </span>
                </span>
                <span className={styles.text}>{hit.text}</span>
                <span className={styles.path}>
                  <bdi>{folderOf(hit.path)}</bdi>
                </span>
              </button>
            </li>
          ))}
        </ol>
      </div>
    </div>
  )
}

function hitTarget(hit: SearchHit): PassageTarget {
  return targetOf({ ...hit, n: hit.rank, span: { start: hit.start, end: hit.end } }, false)
}
