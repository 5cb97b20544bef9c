-- When a file was made tells two apart that have had the same inode, one after the other. NULL where
-- the file system does not say, and for what was seen before this.
ALTER TABLE documents ADD COLUMN file_born INTEGER;
ALTER TABLE removed_files ADD COLUMN file_born INTEGER;
-- Which directory a folder's path led to when what had vanished from it was carried out last.
ALTER TABLE folders ADD COLUMN root_inode INTEGER;
ALTER TABLE folders ADD COLUMN root_born INTEGER;
