-- What kind of trouble a document is in: `problem` belongs to the last attempt, as `reason` does, and
-- `content_problem` to the content, as `note` does.
ALTER TABLE documents ADD COLUMN problem TEXT CHECK (problem IN (
    'scanned', 'empty', 'garbled', 'encoding', 'protected', 'damaged', 'incomplete', 'too_big',
    'unsupported', 'unreachable', 'reader_failed', 'partly_scanned', 'other'
));
ALTER TABLE documents ADD COLUMN content_problem TEXT CHECK (content_problem IN (
    'scanned', 'empty', 'garbled', 'encoding', 'protected', 'damaged', 'incomplete', 'too_big',
    'unsupported', 'unreachable', 'reader_failed', 'partly_scanned', 'other'
));
