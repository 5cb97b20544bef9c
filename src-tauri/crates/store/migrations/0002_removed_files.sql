-- Files that the user has removed from a workspace although they lie in one of its watched folders.
-- Scans leave them out until the user adds them, or a folder they lie in, again.
CREATE TABLE removed_files (
    workspace_id BLOB NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    path         TEXT NOT NULL,
    PRIMARY KEY (workspace_id, path)
) STRICT;
