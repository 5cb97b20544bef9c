/**
 * The `data-testid` hooks that black-box tests drive the window by. They are a contract: a test
 * outside this package knows them as strings, so a rename here is a change there.
 *
 * - `workspaceSwitcher`   button at the top of the sidebar, opens the switcher (Ctrl+K)
 * - `workspaceCreate`     in the switcher, and on the first screen: asks for a new workspace
 * - `workspaceNameInput`, `workspaceCreateSubmit`   the name, and the button that creates it
 * - `navDocuments`, `navChat`   links of the sidebar
 * - `newChat`             begins a chat (Ctrl+N)
 * - `questionInput`, `send`, `stop`   the composer; `stop` is there while an answer is written
 * - `messageUser`, `messageAssistant`   one each per message, in order; an assistant message has
 *   `data-status` = pending | streaming | complete | interrupted | failed, and `data-refused`
 * - `citation(n)`         every `[n]` button in an answer (the same id more than once is normal)
 * - `passagePanel`, `passageMark`   the open document, and every marked piece of the passage in it:
 *   one or more per block of text, `data-quote` on what the answer quotes; one per page of a PDF
 * - `documentRow`         one per visible document, with `data-path` and `data-status`
 * - `documentStatus`      inside a row; its text is for people, `data-status` is the API's word
 * - `jobsPage`, `jobRow`   the job list, and one per visible job with `data-state`
 * - `dropOverlay`         shown while files are dragged over the window
 * - `firstRun`            the screen that stands in until the models are there
 */
export const testIds = {
  workspaceSwitcher: 'workspace-switcher',
  workspaceCreate: 'workspace-create',
  workspaceNameInput: 'workspace-name-input',
  workspaceCreateSubmit: 'workspace-create-submit',
  navDocuments: 'nav-documents',
  navChat: 'nav-chat',
  newChat: 'new-chat',
  questionInput: 'question-input',
  send: 'send',
  stop: 'stop',
  messageUser: 'message-user',
  messageAssistant: 'message-assistant',
  citation: (n: number) => `citation-${n}`,
  passagePanel: 'passage-panel',
  passageMark: 'passage-mark',
  documentRow: 'document-row',
  documentStatus: 'document-status',
  jobsPage: 'jobs-page',
  jobRow: 'job-row',
  dropOverlay: 'drop-overlay',
  firstRun: 'first-run',
} as const
