-- Background work can be paused, and what it brings is counted by batches: a batch is all that is
-- read or embedded from the first job that meets an empty queue until the queue is empty again.
ALTER TABLE workspaces ADD COLUMN paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1));
-- The number of the batch that new work joins.
ALTER TABLE workspaces ADD COLUMN batch INTEGER NOT NULL DEFAULT 1;
-- NULL while nothing has joined it.
ALTER TABLE workspaces ADD COLUMN batch_started_at INTEGER;
-- The batch that the document was worked on in last; 0 when the user has taken it out.
ALTER TABLE documents ADD COLUMN batch INTEGER NOT NULL DEFAULT 0;
-- Covers the progress of a batch.
CREATE INDEX documents_by_batch
    ON documents (workspace_id, batch, status, size_bytes, chunk_count, embedded_count);
-- The order in which waiting jobs are listed.
CREATE INDEX jobs_waiting ON jobs (workspace_id, priority DESC) WHERE state = 'queued';
-- The newest jobs of a workspace, whatever their state.
CREATE INDEX jobs_by_age ON jobs (workspace_id);
UPDATE documents SET batch = 1 WHERE status IN ('queued', 'reading', 'words');
UPDATE workspaces SET batch_started_at =
    (SELECT max(d.updated_at) FROM documents d WHERE d.workspace_id = workspaces.id AND d.batch = 1);
-- What failed and was tried again under another job is no failure any more.
DELETE FROM jobs WHERE state IN ('dead', 'cancelled') AND EXISTS (
    SELECT 1 FROM jobs n WHERE n.workspace_id = jobs.workspace_id AND n.kind = jobs.kind
        AND coalesce(n.document_id, n.folder_id) = coalesce(jobs.document_id, jobs.folder_id)
        AND n.seq > jobs.seq);
