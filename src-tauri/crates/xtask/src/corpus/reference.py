"""What independent readers make of the corpus of formats.

usage: reference.py FORMATS OUT

Writes OUT/<extension>/<file>.txt with the text, and <file>.json with the counts of what the reader
finds (headings, tables, slides, sheets) or why it could not read the file. Each file is read in a
process of its own, for a minute at most. Files that were read before are left as they are.
"""

import csv
import email
import email.policy
import io
import json
import multiprocessing
import os
import re
import subprocess
import sys
import zipfile

LIMIT_S = 60


def pdf(path):
    text = subprocess.run(
        ["pdftotext", "-enc", "UTF-8", path, "-"], check=True, capture_output=True
    ).stdout.decode()
    return text, {"pages": text.count("\f")}


def docx(path):
    import docx as reader
    from docx.oxml.ns import qn

    document = reader.Document(path)
    words = []
    headings = 0
    tables = 0

    def visit(element):
        nonlocal headings, tables
        for paragraph in element.iter(qn("w:p"), qn("w:tbl")):
            if paragraph.tag == qn("w:tbl"):
                tables += 1
                continue
            style = paragraph.find(qn("w:pPr") + "/" + qn("w:pStyle"))
            if style is not None and re.match(r"(?i)heading ?\d", style.get(qn("w:val"))):
                headings += 1
            pieces = []
            for node in paragraph.iter():
                # What was deleted under revision control, and the same in an older form.
                if any(a.tag in (qn("w:del"), qn("w:moveFrom"), FALLBACK) for a in node.iterancestors()):
                    continue
                if next(node.iterancestors(qn("w:p")), None) is not paragraph:
                    continue
                if node.tag == qn("w:t"):
                    pieces.append(node.text or "")
                elif node.tag in (qn("w:tab"), qn("w:br"), qn("w:cr")):
                    pieces.append(" ")
                elif node.tag == qn("w:noBreakHyphen"):
                    pieces.append("-")
            words.append("".join(pieces))

    FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
    visit(document.element.body)
    for relation in document.part.rels.values():
        if relation.reltype.endswith(("/footnotes", "/endnotes")):
            from lxml import etree

            visit(etree.fromstring(relation.target_part.blob))
    return "\n".join(words), {"headings": headings, "tables": tables}


def pptx(path):
    import pptx as reader

    deck = reader.Presentation(path)
    words = []
    slides = tables = 0

    def visit(shapes):
        nonlocal tables
        for shape in shapes:
            if shape.shape_type is not None and shape.shape_type == 6:
                visit(shape.shapes)
                continue
            if shape.is_placeholder and shape.placeholder_format.type in (13, 15, 16, 14):
                continue  # number, footer, date, header
            if shape.has_text_frame:
                words.append(shape.text_frame.text)
            if getattr(shape, "has_table", False) and shape.has_table:
                tables += 1
                for row in shape.table.rows:
                    words.extend(cell.text for cell in row.cells if not cell.is_spanned)

    for slide in deck.slides:
        if slide._element.get("show") in ("0", "false"):
            continue
        slides += 1
        visit(slide.shapes)
        if slide.has_notes_slide:
            for shape in slide.notes_slide.placeholders:
                if shape.placeholder_format.type == 2 and shape.has_text_frame:
                    words.append(shape.text_frame.text)
    return "\n".join(words), {"slides": slides, "tables": tables}


def xlsx(path):
    """Texts alone, here as in the other spreadsheets: how a number shows hangs on its format."""
    import openpyxl

    book = openpyxl.load_workbook(path, data_only=True)
    words = []
    sheets = 0
    for sheet in book.worksheets:
        if sheet.sheet_state != "visible":
            continue
        lines = []
        for row in sheet.iter_rows():
            cells = [c.value for c in row if isinstance(c.value, str) and c.data_type != "e"]
            if cells:
                lines.append(" ".join(cells))
        if any(c.value is not None and c.data_type != "e" for row in sheet.iter_rows() for c in row):
            sheets += 1
            words.append(sheet.title)
            words.extend(lines)
    return "\n".join(words), {"sheets": sheets}


def xls(path):
    import xlrd

    book = xlrd.open_workbook(path, logfile=io.StringIO(), on_demand=False)
    words = []
    sheets = 0
    for sheet in book.sheets():
        if sheet.visibility != 0:
            continue
        values = [sheet.row(row) for row in range(sheet.nrows)]
        if any(c.ctype in (1, 2, 3, 4) and c.value != "" for row in values for c in row):
            sheets += 1
            words.append(sheet.name)
            for row in values:
                words.append(" ".join(c.value for c in row if c.ctype == 1))
    return "\n".join(words), {"sheets": sheets}


def opendocument(path):
    from odf import table, teletype, text
    from odf.opendocument import load

    document = load(path)
    return document, table, teletype, text


def odt(path):
    document, table, teletype, text = opendocument(path)
    words = []

    def visit(node):
        for child in node.childNodes:
            name = getattr(child, "qname", (None, None))[1]
            if name in ("tracked-changes", "annotation", "forms", "sequence-decls", "object"):
                continue
            if name in ("h", "p"):
                words.append(plain(child))
                later(child)
            else:
                visit(child)

    def plain(node):
        pieces = []
        for child in node.childNodes:
            name = getattr(child, "qname", (None, None))[1]
            if child.nodeType == 3:
                pieces.append(child.data)
            elif name in ("tab", "line-break"):
                pieces.append(" ")
            elif name == "s":
                pieces.append(" ")
            elif name in ("note", "annotation", "frame", "text-box"):
                pieces.append("")
            else:
                pieces.append(plain(child))
        return "".join(pieces)

    def later(node):
        for child in node.childNodes:
            name = getattr(child, "qname", (None, None))[1]
            if name in ("note-body", "text-box"):
                visit(child)
            elif child.nodeType != 3 and name != "annotation":
                later(child)

    visit(document.text)
    return "\n".join(words), {
        "headings": len(document.getElementsByType(text.H)),
        "tables": len(document.getElementsByType(table.Table)),
    }


def ods(path):
    document, table, teletype, text = opendocument(path)
    words = []
    sheets = 0
    for sheet in document.spreadsheet.getElementsByType(table.Table):
        lines = []
        for row in sheet.getElementsByType(table.TableRow):
            cells = []
            for cell in row.getElementsByType(table.TableCell):
                if cell.getAttribute("valuetype") == "string":
                    lines_of_cell = [teletype.extractText(p) for p in cell.getElementsByType(text.P)]
                    cells.append(" ".join(lines_of_cell))
            lines.append(" ".join(cells))
        if any(cell.getElementsByType(text.P) for cell in sheet.getElementsByType(table.TableCell)):
            sheets += 1
            words.append(sheet.getAttribute("name"))
            words.extend(lines)
    return "\n".join(words), {"sheets": sheets}


def from_html(markup):
    from bs4 import BeautifulSoup, Comment

    soup = BeautifulSoup(markup, "lxml")
    for each in soup(["script", "style", "template", "head", "noscript"]):
        each.decompose()
    for comment in soup(string=lambda text: isinstance(text, Comment)):
        comment.extract()
    # A separator only where a browser breaks the line.
    for block in soup(
        "p div li dt dd td th tr h1 h2 h3 h4 h5 h6 br pre blockquote table ul ol dl section option".split()
    ):
        block.insert_before("\n")
        block.insert_after("\n")
    return soup.get_text(), {
        "headings": len([h for h in soup(re.compile("^h[1-6]$")) if h.get_text(strip=True)]),
        "tables": len(soup("table")),
    }


def html(path):
    """Navigation is not what a page says; what the page marks as its content is."""
    from bs4 import BeautifulSoup

    with open(path, "rb") as file:
        soup = BeautifulSoup(file.read(), "lxml")
    for each in soup.select(
        "nav, footer, [role=navigation], [role=contentinfo], [role=search], [role=banner], [role=menu]"
    ):
        each.decompose()
    content = soup.select_one("main, [role=main]") or soup
    return from_html(str(content))


def epub(path):
    from lxml import etree

    with zipfile.ZipFile(path) as book:
        container = etree.fromstring(book.read("META-INF/container.xml"))
        package = container.find(".//{*}rootfile").get("full-path")
        opf = etree.fromstring(book.read(package))
        items = {i.get("id"): i.get("href") for i in opf.iter("{*}item")}
        texts = []
        for reference in opf.iter("{*}itemref"):
            href = items.get(reference.get("idref"), "")
            name = os.path.normpath(os.path.join(os.path.dirname(package), href))
            if name in book.namelist():
                texts.append(from_html(book.read(name))[0])
    return "\n".join(texts), {}


def rst(path):
    from docutils import core, nodes

    with open(path, "rb") as file:
        source = file.read().decode("utf-8", "replace")
    tree = core.publish_doctree(
        source,
        source_path=path,
        settings_overrides={
            "report_level": 5,
            "halt_level": 5,
            "file_insertion_enabled": False,
            "raw_enabled": False,
            "warning_stream": io.StringIO(),
        },
    )
    for kind in (nodes.system_message, nodes.comment, nodes.substitution_definition, nodes.problematic):
        for node in list(tree.findall(kind)):
            node.parent.remove(node)
    return tree.astext(), {"headings": len(list(tree.findall(nodes.title)))}


def eml(path):
    with open(path, "rb") as file:
        message = email.message_from_binary_file(file, policy=email.policy.default)
    words = [str(message.get(name, "")) for name in ("subject", "from", "to", "cc", "date")]
    body = message.get_body(preferencelist=("html", "plain"))
    if body is not None:
        try:
            content = body.get_content()
        except LookupError:
            content = body.get_payload(decode=True).decode("latin-1")
        words.append(from_html(content)[0] if body.get_content_subtype() == "html" else content)
    attachments = 0
    for part in message.iter_attachments():
        attachments += 1
        words.append(part.get_filename() or "")
    return "\n".join(words), {"attachments": attachments}


def decoded(path):
    with open(path, "rb") as file:
        content = file.read()
    for encoding in ("utf-8-sig", "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("cp1252", "replace")


def table(path):
    text = decoded(path)
    delimiter = "\t" if path.endswith(".tsv") else None
    if delimiter is None:
        delimiter = csv.Sniffer().sniff(text[:65536], ",;\t|").delimiter
    csv.field_size_limit(1 << 30)
    rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    return "\n".join(" ".join(row) for row in rows), {}


def json_values(path):
    text = decoded(path)
    words = []

    def visit(value):
        if isinstance(value, dict):
            for name, inner in value.items():
                words.append(name)
                visit(inner)
        elif isinstance(value, list):
            for inner in value:
                visit(inner)
        elif isinstance(value, str):
            words.append(value)

    visit(json.loads(text, parse_float=str, parse_int=str))
    return "\n".join(words), {}


def plain(path):
    return decoded(path), {}


READERS = {
    "pdf": pdf,
    "docx": docx,
    "pptx": pptx,
    "xlsx": xlsx,
    "xlsm": xlsx,
    "xls": xls,
    "odt": odt,
    "ods": ods,
    "html": html,
    "epub": epub,
    "rst": rst,
    "eml": eml,
    "csv": table,
    "tsv": table,
    "json": json_values,
}


def read(job):
    extension, path, out = job
    try:
        text, counts = READERS.get(extension, plain)(path)
        result = {"counts": counts}
    except BaseException as error:  # a reader may do anything on files made to break readers
        text, result = None, {"error": f"{type(error).__name__}: {error}"[:300]}
    if text is not None:
        with open(out + ".txt", "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
    with open(out + ".json", "w", encoding="utf-8") as file:
        json.dump(result, file)


def main():
    formats, out = sys.argv[1:]
    jobs = []
    for extension in sorted(os.listdir(formats)):
        os.makedirs(os.path.join(out, extension), exist_ok=True)
        for name in sorted(os.listdir(os.path.join(formats, extension))):
            target = os.path.join(out, extension, name)
            if not os.path.exists(target + ".json"):
                jobs.append((extension, os.path.join(formats, extension, name), target))
    for done, job in enumerate(jobs, 1):
        process = multiprocessing.Process(target=read, args=(job,))
        process.start()
        process.join(LIMIT_S)
        if process.is_alive():
            process.kill()
            process.join()
            with open(job[2] + ".json", "w", encoding="utf-8") as file:
                json.dump({"error": f"not done after {LIMIT_S} s"}, file)
        elif not os.path.exists(job[2] + ".json"):
            with open(job[2] + ".json", "w", encoding="utf-8") as file:
                json.dump({"error": f"ended with {process.exitcode}"}, file)
        if done % 200 == 0:
            print(f"{done} of {len(jobs)} read by the reference readers", flush=True)


if __name__ == "__main__":
    main()
