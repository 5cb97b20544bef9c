-- schema 12
CREATE TABLE chat_permissions (
    workspace_id BLOB    NOT NULL,
    id           BLOB    NOT NULL CHECK (length(id) = 16),
    chat_id      BLOB    NOT NULL,
    user_id      BLOB    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    level        TEXT    NOT NULL CHECK (level IN ('read', 'write', 'admin')),
    granted_by   BLOB    NOT NULL REFERENCES users (id),
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, id),
    UNIQUE (workspace_id, chat_id, user_id),
    FOREIGN KEY (workspace_id, chat_id) REFERENCES chats (workspace_id, id) ON DELETE CASCADE
) STRICT;
CREATE TABLE chats (
    workspace_id BLOB    NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    id           BLOB    NOT NULL CHECK (length(id) = 16),
    owner        BLOB    NOT NULL REFERENCES users (id),
    title        TEXT    NOT NULL,
    visibility   TEXT    NOT NULL CHECK (visibility IN ('private', 'tenant_shared')),
    pinned       INTEGER NOT NULL CHECK (pinned IN (0, 1)),
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, id)
) STRICT;
CREATE TABLE chunks (
    workspace_id BLOB    NOT NULL,
    chunk_key    INTEGER NOT NULL CHECK (chunk_key BETWEEN 0 AND 4294967295),
    document_id  BLOB    NOT NULL,
    ordinal      INTEGER NOT NULL,
    start        INTEGER NOT NULL,
    "end"        INTEGER NOT NULL,
    page         INTEGER,
    -- 20 bytes a box: page as u32, then left, top, right, bottom as f32, little-endian.
    boxes        BLOB    NOT NULL CHECK (length(boxes) % 20 = 0),
    -- JSON array of strings, outermost first.
    heading_path TEXT    NOT NULL,
    text         TEXT    NOT NULL,
    token_count  INTEGER NOT NULL,
    embedded     INTEGER NOT NULL DEFAULT 0 CHECK (embedded IN (0, 1)),
    PRIMARY KEY (workspace_id, chunk_key),
    FOREIGN KEY (workspace_id, document_id)
        REFERENCES documents (workspace_id, id) ON DELETE CASCADE
) STRICT;
CREATE TABLE document_texts (
    workspace_id BLOB NOT NULL,
    document_id  BLOB NOT NULL,
    text         TEXT NOT NULL,
    -- Blocks and pages as JSON; the engine knows its shape.
    layout       TEXT NOT NULL,
    PRIMARY KEY (workspace_id, document_id),
    FOREIGN KEY (workspace_id, document_id)
        REFERENCES documents (workspace_id, id) ON DELETE CASCADE
) STRICT;
CREATE TABLE documents (
    workspace_id   BLOB    NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    id             BLOB    NOT NULL CHECK (length(id) = 16),
    folder_id      BLOB,
    origin         TEXT    NOT NULL CHECK (origin IN ('folder', 'file', 'upload')),
    path           TEXT    NOT NULL,
    title          TEXT    NOT NULL,
    -- Without case and marks: for sorting by title, and title and path for looking a document up.
    folded_title   TEXT    NOT NULL,
    folded_path    TEXT    NOT NULL,
    size_bytes     INTEGER NOT NULL,
    modified_at    INTEGER,
    modified_ns    INTEGER,
    file_device    INTEGER,
    file_inode     INTEGER,
    -- Of the bytes that were uploaded, which lie in the blob store under this name.
    blob_hash      TEXT,
    -- Of the bytes that the chunks were made from.
    content_hash   TEXT,
    status         TEXT    NOT NULL
        CHECK (status IN ('queued', 'reading', 'words', 'ready', 'failed', 'skipped')),
    -- Why the last attempt failed. Goes when the next one succeeds.
    reason         TEXT,
    -- About the content: a warning, or why there is none. Stays as long as the content does.
    note           TEXT,
    language       TEXT    CHECK (language IN ('hr', 'en', 'und')),
    page_count     INTEGER,
    chunk_count    INTEGER NOT NULL DEFAULT 0 CHECK (chunk_count >= 0),
    embedded_count INTEGER NOT NULL DEFAULT 0
        CHECK (embedded_count BETWEEN 0 AND chunk_count),
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL, content_problem TEXT CHECK (content_problem IN (
    'scanned', 'empty', 'garbled', 'encoding', 'protected', 'damaged', 'incomplete', 'too_big',
    'unsupported', 'unreachable', 'reader_failed', 'partly_scanned', 'other'
)), retitled INTEGER NOT NULL DEFAULT 0, batch INTEGER NOT NULL DEFAULT 0, recognise INTEGER NOT NULL DEFAULT 0 CHECK (recognise IN (0, 1)), format TEXT CHECK (format IN (
    'text', 'markdown', 'html', 'pdf', 'docx', 'xlsx', 'xls', 'ods', 'csv', 'email', 'pptx', 'odt',
    'epub', 'rst', 'json', 'code', 'picture'
)), problem TEXT CHECK (problem IN (
    'scanned', 'empty', 'garbled', 'encoding', 'protected', 'damaged', 'incomplete', 'too_big',
    'unsupported', 'unreachable', 'reader_failed', 'partly_scanned', 'cancelled', 'other'
)), file_born INTEGER,
    PRIMARY KEY (workspace_id, id),
    FOREIGN KEY (workspace_id, folder_id) REFERENCES folders (workspace_id, id) ON DELETE CASCADE
) STRICT;
CREATE TABLE feature_flags (
    -- NULL for the default of every workspace.
    workspace_id BLOB    REFERENCES workspaces (id) ON DELETE CASCADE,
    name         TEXT    NOT NULL,
    enabled      INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    config       TEXT    NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;
CREATE TABLE folders (
    workspace_id BLOB    NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    id           BLOB    NOT NULL CHECK (length(id) = 16),
    path         TEXT    NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('watching', 'incomplete', 'paused')),
    reason       TEXT,
    last_scan_at INTEGER,
    created_at   INTEGER NOT NULL, include TEXT NOT NULL DEFAULT '[]', exclude TEXT NOT NULL DEFAULT '[]', last_scan TEXT, asked INTEGER, accepted INTEGER NOT NULL DEFAULT 0 CHECK (accepted >= 0), root_inode INTEGER, root_born INTEGER,
    PRIMARY KEY (workspace_id, id),
    UNIQUE (workspace_id, path)
) STRICT;
CREATE TABLE generations (
    workspace_id BLOB    NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    role         TEXT    NOT NULL CHECK (role IN ('next', 'previous')),
    generation   INTEGER NOT NULL CHECK (generation >= 1),
    embedder     TEXT    NOT NULL,
    -- How the making of the next one stands, and what it waits for or why it stopped.
    state        TEXT    CHECK (state IN ('running', 'paused', 'failed')),
    reason       TEXT,
    -- When it began, or was replaced.
    since        INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, role),
    CHECK ((role = 'next') = (state IS NOT NULL))
) STRICT;
CREATE TABLE jobs (
    -- Age in the queue. Not the time: clocks jump.
    seq            INTEGER PRIMARY KEY,
    workspace_id   BLOB    NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    id             BLOB    NOT NULL CHECK (length(id) = 16),
    kind           TEXT    NOT NULL CHECK (kind IN ('read', 'embed', 'scan')),
    document_id    BLOB,
    folder_id      BLOB,
    state          TEXT    NOT NULL
        CHECK (state IN ('queued', 'running', 'done', 'dead', 'cancelled')),
    stage          TEXT,
    progress_done  INTEGER NOT NULL DEFAULT 0,
    progress_total INTEGER NOT NULL DEFAULT 0,
    -- Higher first.
    priority       INTEGER NOT NULL,
    attempts       INTEGER NOT NULL DEFAULT 0,
    max_attempts   INTEGER NOT NULL,
    -- How many processes have ended while running it, since it last got further.
    deaths         INTEGER NOT NULL DEFAULT 0,
    run_after      INTEGER NOT NULL,
    -- Boot id of the process that runs it.
    lease_owner    BLOB,
    fence          INTEGER NOT NULL DEFAULT 0,
    -- What it works on has changed since it was claimed: queue it again when it finishes.
    again          INTEGER NOT NULL DEFAULT 0 CHECK (again IN (0, 1)),
    reason         TEXT,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    UNIQUE (workspace_id, id),
    CHECK ((kind = 'scan') = (folder_id IS NOT NULL)),
    CHECK ((kind = 'scan') = (document_id IS NULL)),
    CHECK ((state = 'running') = (lease_owner IS NOT NULL)),
    FOREIGN KEY (workspace_id, document_id)
        REFERENCES documents (workspace_id, id) ON DELETE CASCADE,
    FOREIGN KEY (workspace_id, folder_id)
        REFERENCES folders (workspace_id, id) ON DELETE CASCADE
) STRICT;
CREATE TABLE limits (
    workspace_id   BLOB    NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    operation      TEXT    NOT NULL,
    max            INTEGER NOT NULL CHECK (max >= 0),
    window_seconds INTEGER NOT NULL CHECK (window_seconds > 0),
    updated_at     INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, operation)
) STRICT;
CREATE TABLE messages (
    -- Order within a chat. Not the time: clocks jump.
    seq          INTEGER PRIMARY KEY,
    workspace_id BLOB    NOT NULL,
    chat_id      BLOB    NOT NULL,
    id           BLOB    NOT NULL CHECK (length(id) = 16),
    role         TEXT    NOT NULL CHECK (role IN ('user', 'assistant')),
    content      TEXT    NOT NULL,
    status       TEXT    NOT NULL CHECK (status IN ('streaming', 'complete', 'interrupted', 'failed')),
    -- docent-domain's Answer as JSON.
    answer       TEXT,
    created_at   INTEGER NOT NULL,
    UNIQUE (workspace_id, id),
    FOREIGN KEY (workspace_id, chat_id) REFERENCES chats (workspace_id, id) ON DELETE CASCADE
) STRICT;
CREATE TABLE removed_files (
    workspace_id BLOB NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    path         TEXT NOT NULL, size_bytes INTEGER, modified_ns INTEGER, file_device INTEGER, file_inode INTEGER, content_bytes INTEGER, content_hash TEXT, has_left INTEGER NOT NULL DEFAULT 0 CHECK (has_left IN (0, 1)), file_born INTEGER,
    PRIMARY KEY (workspace_id, path)
) STRICT;
CREATE TABLE settings (
    key        TEXT    NOT NULL PRIMARY KEY,
    -- JSON.
    value      TEXT    NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE TABLE users (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    -- NULL for the local user of a desktop, who owns every workspace on it.
    workspace_id  BLOB    REFERENCES workspaces (id) ON DELETE CASCADE,
    name          TEXT    NOT NULL,
    email         TEXT,
    role          TEXT    NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    last_login_at INTEGER,
    created_at    INTEGER NOT NULL
) STRICT;
CREATE TABLE workspaces (
    id             BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name           TEXT    NOT NULL,
    folded_name    TEXT    NOT NULL UNIQUE,
    status         TEXT    NOT NULL CHECK (status IN ('active', 'suspended')),
    plan           TEXT    NOT NULL CHECK (plan IN ('local', 'free', 'pro')),
    embedder       TEXT    NOT NULL,
    -- The next key to give out. It only grows: a key is never used for a second chunk.
    next_chunk_key INTEGER NOT NULL DEFAULT 0 CHECK (next_chunk_key BETWEEN 0 AND 4294967296),
    -- Ordinal of the last job claimed for this workspace; the lowest has waited longest.
    served         INTEGER NOT NULL DEFAULT 0,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL
, generation INTEGER NOT NULL DEFAULT 1 CHECK (generation >= 1), last_generation INTEGER NOT NULL DEFAULT 1
    CHECK (last_generation >= 1), paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)), batch INTEGER NOT NULL DEFAULT 1, batch_started_at INTEGER) STRICT;
CREATE INDEX chat_permissions_by_granter ON chat_permissions (granted_by);
CREATE INDEX chat_permissions_of_user ON chat_permissions (user_id);
CREATE INDEX chats_by_use ON chats (workspace_id, pinned DESC, updated_at DESC, id DESC);
CREATE INDEX chats_of_owner ON chats (owner);
CREATE UNIQUE INDEX chunks_of_document ON chunks (workspace_id, document_id, ordinal);
CREATE INDEX chunks_unembedded ON chunks (workspace_id, document_id, ordinal, chunk_key)
    WHERE embedded = 0;
CREATE INDEX documents_by_batch
    ON documents (workspace_id, batch, status, size_bytes, chunk_count, embedded_count);
CREATE INDEX documents_by_change ON documents (workspace_id, updated_at, id);
CREATE INDEX documents_by_hash ON documents (workspace_id, content_hash);
CREATE UNIQUE INDEX documents_by_path ON documents (workspace_id, path) WHERE origin <> 'upload';
CREATE INDEX documents_by_status
    ON documents (workspace_id, status, chunk_count, embedded_count);
CREATE INDEX documents_by_title ON documents (workspace_id, folded_title, id);
CREATE UNIQUE INDEX documents_by_upload ON documents (workspace_id, path, blob_hash)
    WHERE origin = 'upload';
CREATE INDEX documents_of_folder ON documents (workspace_id, folder_id);
CREATE INDEX documents_retitled ON documents (workspace_id) WHERE retitled > 0;
CREATE UNIQUE INDEX feature_flag_defaults ON feature_flags (name) WHERE workspace_id IS NULL;
CREATE UNIQUE INDEX feature_flags_of_workspace ON feature_flags (workspace_id, name);
CREATE UNIQUE INDEX jobs_active_of_document ON jobs (workspace_id, document_id, kind)
    WHERE document_id IS NOT NULL AND state IN ('queued', 'running');
CREATE UNIQUE INDEX jobs_active_of_folder ON jobs (workspace_id, folder_id, kind)
    WHERE folder_id IS NOT NULL AND state IN ('queued', 'running');
CREATE INDEX jobs_by_age ON jobs (workspace_id);
CREATE INDEX jobs_by_state ON jobs (workspace_id, state);
CREATE INDEX jobs_of_document ON jobs (workspace_id, document_id);
CREATE INDEX jobs_of_folder ON jobs (workspace_id, folder_id);
CREATE INDEX jobs_queue ON jobs (workspace_id, kind, priority DESC, deaths)
    WHERE state = 'queued';
CREATE INDEX jobs_running ON jobs (lease_owner) WHERE state = 'running';
CREATE INDEX jobs_waiting ON jobs (workspace_id, priority DESC) WHERE state = 'queued';
CREATE INDEX messages_of_chat ON messages (workspace_id, chat_id, seq);
CREATE INDEX messages_streaming ON messages (workspace_id, chat_id) WHERE status = 'streaming';
CREATE INDEX users_of_workspace ON users (workspace_id);
