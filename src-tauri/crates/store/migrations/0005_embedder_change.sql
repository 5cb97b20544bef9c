-- The embedder of a workspace can be changed: vectors come in generations, each of one embedder and in
-- a folder of its own. The one named here answers; `embedded` of the chunks speaks of it.
ALTER TABLE workspaces ADD COLUMN generation INTEGER NOT NULL DEFAULT 1 CHECK (generation >= 1);
-- The last one given out. It only grows: a generation is never used for a second embedder.
ALTER TABLE workspaces ADD COLUMN last_generation INTEGER NOT NULL DEFAULT 1
    CHECK (last_generation >= 1);

-- The generations that do not answer: the one being made, and the one that answered before.
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
