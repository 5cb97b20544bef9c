-- How many files were gone at once when the folder was paused and the user was asked, and so many may
-- be removed by the next complete scan because the user said so.
ALTER TABLE folders ADD COLUMN asked INTEGER;
ALTER TABLE folders ADD COLUMN accepted INTEGER NOT NULL DEFAULT 0 CHECK (accepted >= 0);
-- What a removed file was, so that it is known under another name: as documents have it. The size
-- and the hash of its content are those of its removal; the rest is as a scan saw the file last.
ALTER TABLE removed_files ADD COLUMN size_bytes INTEGER;
ALTER TABLE removed_files ADD COLUMN modified_ns INTEGER;
ALTER TABLE removed_files ADD COLUMN file_device INTEGER;
ALTER TABLE removed_files ADD COLUMN file_inode INTEGER;
ALTER TABLE removed_files ADD COLUMN content_bytes INTEGER;
ALTER TABLE removed_files ADD COLUMN content_hash TEXT;
-- Whether the file stands under another path, which is here too.
ALTER TABLE removed_files ADD COLUMN has_left INTEGER NOT NULL DEFAULT 0 CHECK (has_left IN (0, 1));
