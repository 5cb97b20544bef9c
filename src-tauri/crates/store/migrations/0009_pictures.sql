-- Pictures are read as files of their own. The column is replaced, not the table: dropping a table
-- deletes what refers to it.
ALTER TABLE documents ADD COLUMN new_format TEXT CHECK (new_format IN (
    'text', 'markdown', 'html', 'pdf', 'docx', 'xlsx', 'xls', 'ods', 'csv', 'email', 'pptx', 'odt',
    'epub', 'rst', 'json', 'code', 'picture'
));
UPDATE documents SET new_format = format;
ALTER TABLE documents DROP COLUMN format;
ALTER TABLE documents RENAME COLUMN new_format TO format;
-- The next scan has those looked at again that were of no format before.
UPDATE documents SET modified_ns = NULL WHERE problem = 'unsupported' AND (
    lower(path) LIKE '%.png' OR lower(path) LIKE '%.jpg' OR lower(path) LIKE '%.jpeg'
    OR lower(path) LIKE '%.tif' OR lower(path) LIKE '%.tiff');
