-- Whether the document's next reading is to recognise the text of its scanned pages. Set when a
-- reading finds such pages, with the job for it, and gone when that has succeeded or the file changes.
ALTER TABLE documents ADD COLUMN recognise INTEGER NOT NULL DEFAULT 0 CHECK (recognise IN (0, 1));
