-- More formats. The column is replaced, not the table: dropping a table deletes what refers to it.
ALTER TABLE documents ADD COLUMN new_format TEXT CHECK (new_format IN (
    'text', 'markdown', 'html', 'pdf', 'docx', 'xlsx', 'xls', 'ods', 'csv', 'email', 'pptx', 'odt',
    'epub', 'rst', 'json', 'code'
));
UPDATE documents SET new_format = format;
ALTER TABLE documents DROP COLUMN format;
ALTER TABLE documents RENAME COLUMN new_format TO format;
