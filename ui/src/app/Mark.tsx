/** Docent's mark: a page with a line of it marked. */
export function Mark({ size, className }: { size: number; className?: string | undefined }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden className={className}>
      <rect x="5" y="2" width="22" height="28" rx="4" fill="var(--pine)" />
      <rect x="10" y="8.5" width="12" height="2.4" rx="1.2" fill="var(--on-pine)" opacity="0.55" />
      <rect x="8" y="13.2" width="16" height="5.4" rx="1.4" fill="#f6cf1f" />
      <rect x="10" y="21" width="8" height="2.4" rx="1.2" fill="var(--on-pine)" opacity="0.55" />
    </svg>
  )
}
