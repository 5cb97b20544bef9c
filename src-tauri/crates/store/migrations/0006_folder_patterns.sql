-- JSON arrays of patterns in gitignore's syntax: what of a folder is mirrored, and what is not.
ALTER TABLE folders ADD COLUMN include TEXT NOT NULL DEFAULT '[]';
ALTER TABLE folders ADD COLUMN exclude TEXT NOT NULL DEFAULT '[]';
-- docent-domain's ScanSummary as JSON.
ALTER TABLE folders ADD COLUMN last_scan TEXT;
-- How often the title has changed since the word index was told. 0 means that it has it.
ALTER TABLE documents ADD COLUMN retitled INTEGER NOT NULL DEFAULT 0;
CREATE INDEX documents_retitled ON documents (workspace_id) WHERE retitled > 0;
