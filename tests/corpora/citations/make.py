"""Makes the documents of `citations.jsonl` beside it, with the programs that people make such files
with. The files are committed; this says how they came about.

usage: make.py OUT (with python-docx, openpyxl, python-pptx and ebooklib installed, and LibreOffice)
"""

import email.message
import email.policy
import os
import shutil
import subprocess
import sys
import tempfile

OUT = sys.argv[1]

HR = [
    (
        "Godišnji odmor",
        [
            "Radnik ima pravo na plaćeni godišnji odmor od najmanje četiri tjedna u svakoj kalendarskoj godini.",
            "Radnik koji radi na poslovima na kojima ga nije moguće zaštititi od štetnih utjecaja ima pravo na pet tjedana odmora.",
            "Raspored korištenja odmora utvrđuje poslodavac do 30. lipnja tekuće godine.",
        ],
    ),
    (
        "Rad od kuće",
        [
            "Rad od kuće dogovara se pisanim putem, najviše dva dana u tjednu.",
            "Troškove struje i interneta poslodavac nadoknađuje paušalno, u iznosu od 26,54 eura mjesečno.",
        ],
    ),
    (
        "Prekovremeni rad",
        [
            "Prekovremeni rad pojedinog radnika ne smije trajati duže od sto osamdeset sati godišnje.",
            "Za svaki sat prekovremenog rada plaća se uvećava za 50 posto.",
        ],
    ),
]
EN = [
    (
        "Returning goods",
        [
            "A customer may return an unused item within thirty days of delivery.",
            "The warehouse checks returned items on Tuesdays and Fridays, between nine and noon.",
            "Refunds reach the customer's account no later than fourteen days after the check.",
        ],
    ),
    (
        "Warranty",
        [
            "Pumps carry a warranty of five years, seals and gaskets one of eighteen months.",
            "The warranty ends when the casing is opened by anybody but an authorised workshop.",
        ],
    ),
    (
        "Transport",
        [
            "Pallets heavier than 640 kilograms travel by rail only.",
            "Glass is carried upright, with cork between the panes.",
        ],
    ),
]
SALARIES = [("Ana Babić", "Prodaja", 1840.5), ("Ivo Čović", "Skladište", 1320), ("Mara Đurić", "Nabava", 1615.25)]
PARTS = [(f"PX-{n:03}", f"Impeller size {n}", 12.5 + n) for n in range(1, 61)]


def path(name):
    return os.path.join(OUT, name)


def texts():
    with open(path("pravilnik.txt"), "w", encoding="utf-8") as file:
        for heading, paragraphs in HR:
            file.write(heading.upper() + "\n\n" + "\n\n".join(paragraphs) + "\n\n")
    with open(path("returns.md"), "w", encoding="utf-8") as file:
        file.write("# Handbook\n\n")
        for heading, paragraphs in EN:
            file.write(f"## {heading}\n\n" + "\n\n".join(paragraphs) + "\n\n")
        file.write("| Part | Months |\n|---|---|\n| Seal | 18 |\n| Pump | 60 |\n")
    with open(path("skladiste.rst"), "w", encoding="utf-8") as file:
        file.write("Upute za skladište\n==================\n\n")
        for heading, paragraphs in HR:
            file.write(heading + "\n" + "-" * len(heading) + "\n\n" + "\n\n".join(paragraphs) + "\n\n")
        file.write("* Vrata se zaključavaju u 19 sati.\n* Ključ čuva čuvar na porti.\n")
    with open(path("warranty.html"), "w", encoding="utf-8") as file:
        file.write('<!doctype html><html lang="en"><meta charset="utf-8"><title>Warranty terms</title><body><h1>Warranty terms</h1>')
        for heading, paragraphs in EN:
            file.write(f"<h2>{heading}</h2>" + "".join(f"<p>{p}</p>" for p in paragraphs))
        file.write("<table><tr><th>Part</th><th>Months</th></tr><tr><td>Gasket</td><td>18 months</td></tr></table></body></html>")
    with open(path("place.csv"), "w", encoding="utf-8") as file:
        file.write("Ime;Odjel;Plaća\n")
        for name, department, pay in SALARIES * 12:
            file.write(f"{name};{department};{str(pay).replace('.', ',')}\n")
        file.write("Zdenko Žagar;Održavanje;1777,77\n")
    with open(path("settings.json"), "w", encoding="utf-8") as file:
        file.write(
            '{"warehouse": {"name": "Split North", "doors": [{"id": "D1", "note": "Opens outwards, keep clear"},'
            ' {"id": "D2", "note": "Freight only until the ramp is repaired"}]},'
            ' "alarm": {"delay_seconds": 45, "message": "Alarm se isključuje šifrom na ploči"}}'
        )
    with open(path("tariff.py"), "w", encoding="utf-8") as file:
        file.write(
            '"""Tariffs of the warehouse."""\n\nRAIL_LIMIT_KG = 640\n\n\ndef by_rail(weight_kg):\n'
            '    """Whether a pallet is too heavy for the road."""\n    return weight_kg > RAIL_LIMIT_KG\n\n\n'
            "def storage_fee(days, pallets):\n    # The first three days are free of charge.\n"
            "    return max(0, days - 3) * pallets * 1.35\n"
        )


def word():
    import docx

    for name, title, sections in [("odmor.docx", "Pravilnik o radu", HR), ("goods.docx", "Trade handbook", EN)]:
        document = docx.Document()
        document.add_heading(title, 0)
        for heading, paragraphs in sections:
            document.add_heading(heading, 1)
            for paragraph in paragraphs:
                document.add_paragraph(paragraph)
        table = document.add_table(rows=1, cols=3)
        table.style = "Table Grid"
        for cell, text in zip(table.rows[0].cells, ("Ime", "Odjel", "Plaća")):
            cell.text = text
        for row in SALARIES:
            cells = table.add_row().cells
            for cell, value in zip(cells, row):
                cell.text = str(value)
        document.save(path(name))


def workbook():
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Plaće"
    sheet.append(["Ime", "Odjel", "Plaća"])
    for row in SALARIES:
        sheet.append(row)
    parts = book.create_sheet("Spare parts")
    parts["B3"] = "Part"
    parts["C3"] = "Name"
    parts["D3"] = "Price"
    for at, row in enumerate(PARTS, 4):
        for column, value in zip("BCD", row):
            parts[f"{column}{at}"] = value
    parts["B66"] = "Prices are without delivery"
    book.create_sheet("Upute")["A2"] = "Tablicu vodi voditelj nabave"
    book.save(path("cjenik.xlsx"))


def slides():
    import pptx
    from pptx.util import Inches

    deck = pptx.Presentation()
    first = deck.slides.add_slide(deck.slide_layouts[0])
    first.shapes.title.text = "Plan prodaje za 2027."
    first.placeholders[1].text = "Uprava, Osijek"
    for heading, paragraphs in HR + EN:
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = heading
        slide.placeholders[1].text = "\n".join(paragraphs)
    last = deck.slides.add_slide(deck.slide_layouts[5])
    last.shapes.title.text = "Brojke"
    table = last.shapes.add_table(4, 3, Inches(1), Inches(2), Inches(8), Inches(2)).table
    for column, text in enumerate(("Ime", "Odjel", "Plaća")):
        table.cell(0, column).text = text
    for row, values in enumerate(SALARIES, 1):
        for column, value in enumerate(values):
            table.cell(row, column).text = str(value)
    last.notes_slide.notes_text_frame.text = "Ne pokazivati iznose izvan uprave."
    deck.save(path("plan.pptx"))


def book():
    from ebooklib import epub

    made = epub.EpubBook()
    made.set_identifier("docent-citations")
    made.set_title("Priručnik")
    made.set_language("hr")
    chapters = []
    for number, (heading, paragraphs) in enumerate(HR + EN, 1):
        chapter = epub.EpubHtml(title=heading, file_name=f"{number}.xhtml", lang="hr")
        chapter.content = f"<h1>{heading}</h1>" + "".join(f"<p>{p}</p>" for p in paragraphs)
        made.add_item(chapter)
        chapters.append(chapter)
    made.toc = chapters
    made.add_item(epub.EpubNcx())
    made.add_item(epub.EpubNav())
    made.spine = chapters
    epub.write_epub(path("prirucnik.epub"), made)


def converted():
    work = tempfile.mkdtemp()
    for source, to in [
        ("odmor.docx", "odt"),
        ("odmor.docx", "pdf"),
        ("goods.docx", "pdf"),
        ("cjenik.xlsx", "ods"),
        ("cjenik.xlsx", "xls"),
    ]:
        subprocess.run(
            ["soffice", f"-env:UserInstallation=file://{work}", "--headless", "--convert-to", to, "--outdir", OUT, path(source)],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    # A page turned into two columns, and one of several pages.
    import docx
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    document = docx.Document()
    document.add_heading("Vijesti poduzeća", 0)
    section = document.sections[0]
    columns = OxmlElement("w:cols")
    columns.set(qn("w:num"), "2")
    section._sectPr.append(columns)
    for number in (1, 2, 3):
        for heading, paragraphs in HR + EN:
            document.add_heading(f"{heading} {number}", 1)
            for paragraph in paragraphs:
                document.add_paragraph(f"{paragraph} (broj {number})")
    document.add_paragraph("Zadnja vijest: kantina se otvara u ponedjeljak.")
    document.save(os.path.join(work, "vijesti.docx"))
    subprocess.run(
        ["soffice", f"-env:UserInstallation=file://{work}", "--headless", "--convert-to", "pdf", "--outdir", OUT, os.path.join(work, "vijesti.docx")],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    shutil.rmtree(work)


def mail():
    def message(subject, text, html=None):
        made = email.message.EmailMessage(policy=email.policy.SMTP)
        made["From"] = "Ana Babić <ana@primjer.hr>"
        made["To"] = "Nabava <nabava@primjer.hr>"
        made["Date"] = "Tue, 03 Nov 2026 09:15:00 +0100"
        made["Subject"] = subject
        made.set_content(text)
        if html:
            made.add_alternative(html, subtype="html")
        return made

    inner = message("Offer for pumps", "We can deliver twelve pumps by the end of March.")
    outer = message(
        "Ponuda i cjenik",
        "Poštovani,\n\nu prilogu je cjenik s novim cijenama, koje vrijede od 1. prosinca.\n\nLijep pozdrav\nAna",
        "<p>Poštovani,</p><p>u prilogu je cjenik s novim cijenama, koje vrijede od <b>1. prosinca</b>.</p><p>Lijep pozdrav<br>Ana</p>",
    )
    for name, maintype, subtype in [
        ("odmor.odt", "application", "vnd.oasis.opendocument.text"),
        ("place.csv", "text", "csv"),
    ]:
        with open(path(name), "rb") as file:
            outer.add_attachment(file.read(), maintype=maintype, subtype=subtype, filename=name)
    outer.add_attachment(inner, filename="ponuda.eml")
    with open(path("ponuda.eml"), "wb") as file:
        file.write(outer.as_bytes())
    with open(path("reply.eml"), "wb") as file:
        file.write(message("Re: Delivery", "The lorry arrives on Thursday at half past six.\n\n> When will it arrive?\n").as_bytes())


os.makedirs(OUT, exist_ok=True)
texts()
word()
workbook()
slides()
book()
converted()
mail()
