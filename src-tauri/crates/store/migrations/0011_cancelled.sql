-- Reading that was cancelled is a problem that is listed. The column is replaced, not the table:
-- dropping a table deletes what refers to it.
ALTER TABLE documents ADD COLUMN new_problem TEXT CHECK (new_problem IN (
    'scanned', 'empty', 'garbled', 'encoding', 'protected', 'damaged', 'incomplete', 'too_big',
    'unsupported', 'unreachable', 'reader_failed', 'partly_scanned', 'cancelled', 'other'
));
UPDATE documents SET new_problem = problem;
ALTER TABLE documents DROP COLUMN problem;
ALTER TABLE documents RENAME COLUMN new_problem TO problem;
UPDATE documents SET problem = 'cancelled'
WHERE status IN ('skipped', 'words', 'ready') AND EXISTS (
    SELECT 1 FROM jobs j WHERE j.workspace_id = documents.workspace_id
        AND j.document_id = documents.id AND j.kind = 'read' AND j.state = 'cancelled');
