//! Workbooks built part by part.

use docent_domain::Format;
use docent_ingest::{BlockKind, Bounds, Refusal, Warning, extract_here};

use crate::fixtures::{blocks, compound, ods, read_bytes, xls, xlsx, zip};

#[test]
fn sheets_of_a_workbook_with_what_their_cells_show() {
    let file = xlsx(
        &[
            (
                "Plaće",
                "<row r='1'><c r='A1' t='s'><v>2</v></c></row>\
                 <row r='3'><c r='B3' t='s'><v>0</v></c><c r='C3' t='inlineStr'><is><t>Iznos</t></is></c><c r='D3' t='s'><v>1</v></c></row>\
                 <row r='4'><c r='B4' t='str'><f>A1</f><v>Ana</v></c><c r='C4' s='1'><v>1234.5</v></c><c r='D4' s='2'><v>46112</v></c></row>\
                 <row r='5'><c r='B5' t='e'><v>#N/A</v></c><c r='C5'><v>0.30000000000000004</v></c><c r='D5' t='b'><v>1</v></c></row>",
            ),
            ("Prazan", ""),
            (
                "Drugi",
                "<row><c><v>1</v></c><c t='s'><v>99</v></c><c><v>2</v></c></row>",
            ),
        ],
        &["Ime", "Dan isplate", "Isplata za &lt;ožujak&gt;"],
    );
    let extracted = read_bytes(&file, Format::Xlsx).unwrap();
    assert_eq!(
        blocks(&extracted),
        [
            (BlockKind::Heading(1), "Sheet: Plaće"),
            (BlockKind::Paragraph, "Isplata za <ožujak>"),
            (BlockKind::TableHeader, "Ime | Iznos | Dan isplate"),
            (BlockKind::TableRow, "Ana | 1234.50 kn | 2026-03-31"),
            (BlockKind::TableRow, "| 0.3 | TRUE"),
            (BlockKind::Heading(1), "Sheet: Drugi"),
            (BlockKind::TableRow, "1 | | 2"),
        ]
    );
    assert_eq!(extracted.title.as_deref(), Some("Obračun"));
}

#[test]
fn formulas_without_results_are_counted() {
    let rows = "<row><c><v>2</v></c><c><f>A1*2</f><v></v></c><c><f>A1*3</f></c>\
                <c t='str'><f>\"\"</f><v></v></c><c><f>A1*4</f><v>8</v></c><c s='1'/></row>";
    let file = xlsx(&[("Prvi", rows), ("Drugi", rows)], &[]);
    let extracted = read_bytes(&file, Format::Xlsx).unwrap();
    assert_eq!(
        extracted.text,
        "Sheet: Prvi\n\n2 | | | | 8\n\nSheet: Drugi\n\n2 | | | | 8"
    );
    let warning = Warning::FormulasWithoutResults { count: 4 };
    assert_eq!(extracted.warnings, [warning]);
}

#[test]
fn a_damaged_sheet_costs_that_sheet_alone() {
    let file = xlsx(
        &[
            ("Prvi", "<row><c><v>1</v></c></row><row></oops>"),
            ("Drugi", "<row><c><v>2</v></c></row>"),
        ],
        &[],
    );
    let extracted = read_bytes(&file, Format::Xlsx).unwrap();
    assert_eq!(extracted.text, "Sheet: Prvi\n\n1\n\nSheet: Drugi\n\n2");
    let part = "the sheet Prvi, or the end of it".to_owned();
    assert_eq!(extracted.warnings, [Warning::PartLeftOut { part }]);
    let file = xlsx(&[("Prvi", "</oops>")], &[]);
    assert!(matches!(
        read_bytes(&file, Format::Xlsx),
        Err(Refusal::Damaged { .. })
    ));
}

#[test]
fn careless_names_of_parts_are_found() {
    let file = zip(&[
        ("xl\\workbook.xml", b"<w><sheet name='A' r:id='r1'/></w>"),
        (
            "xl\\_rels\\workbook.xml.rels",
            b"<r><Relationship Id='r1' Type='x/worksheet' Target='Worksheets/Sheet1.xml'/></r>",
        ),
        (
            "xl\\worksheets\\sheet1.xml",
            b"<w><row><c><v>5</v></c></row></w>",
        ),
    ]);
    let extracted = read_bytes(&file, Format::Xlsx).unwrap();
    assert_eq!(extracted.text, "Sheet: A\n\n5");
}

#[test]
fn open_document_spreadsheets_with_repeated_cells() {
    let file = ods(
        "<office:automatic-styles><style:style style:name='ta2'><style:table-properties table:display='false'/></style:style></office:automatic-styles>\
         <office:body><office:spreadsheet><table:table table:name='Popis' table:style-name='ta1'>\
         <table:table-row><table:table-cell office:value-type='string'><text:p>Ime</text:p></table:table-cell>\
         <table:table-cell office:value-type='string'><text:p>Iznos</text:p><office:annotation><text:p>primjedba</text:p></office:annotation></table:table-cell></table:table-row>\
         <table:table-row table:number-rows-repeated='2'><table:table-cell><text:p>Ana<text:s text:c='2'/>Anić</text:p><text:p>drugi red</text:p></table:table-cell>\
         <table:table-cell office:value-type='float' office:value='5.5' table:number-columns-repeated='2'><text:p>5,50 kn</text:p></table:table-cell>\
         <table:table-cell table:number-columns-repeated='16000'/></table:table-row>\
         <table:table-row table:number-rows-repeated='1048000'><table:table-cell table:number-columns-repeated='16384'/></table:table-row>\
         </table:table><table:table table:name='Skriven' table:style-name='ta2'><table:table-row><table:table-cell><text:p>tajna</text:p></table:table-cell></table:table-row></table:table>\
         </office:spreadsheet></office:body>",
    );
    let extracted = read_bytes(&file, Format::Ods).unwrap();
    assert_eq!(
        blocks(&extracted),
        [
            (BlockKind::Heading(1), "Sheet: Popis"),
            (BlockKind::TableHeader, "Ime | Iznos"),
            (
                BlockKind::TableRow,
                "Ana Anić drugi red | 5,50 kn | 5,50 kn"
            ),
            (
                BlockKind::TableRow,
                "Ana Anić drugi red | 5,50 kn | 5,50 kn"
            ),
        ]
    );
    assert_eq!(extracted.title.as_deref(), Some("Popis"));
}

#[test]
fn passwords_and_wrong_names_are_told_apart() {
    let manifest = b"<manifest:manifest><manifest:file-entry><manifest:encryption-data/></manifest:file-entry></manifest:manifest>";
    let encrypted = zip(&[
        ("META-INF/manifest.xml", manifest),
        ("content.xml", b"\x01\x02"),
    ]);
    assert_eq!(
        read_bytes(&encrypted, Format::Ods),
        Err(Refusal::PasswordProtected)
    );
    for format in [Format::Docx, Format::Xlsx] {
        assert_eq!(
            read_bytes(&compound(&["EncryptionInfo", "EncryptedPackage"]), format),
            Err(Refusal::PasswordProtected)
        );
        let refusal = read_bytes(&compound(&["Workbook"]), format).unwrap_err();
        assert!(
            refusal.to_string().contains("it is an old one"),
            "{refusal}"
        );
    }
    let refusal = read_bytes(&ods("<x/>"), Format::Xlsx).unwrap_err();
    assert!(
        refusal.to_string().contains("holds an OpenDocument file"),
        "{refusal}"
    );
    let refusal = read_bytes(&xlsx(&[], &[]), Format::Ods).unwrap_err();
    assert!(
        refusal.to_string().contains("holds an Excel workbook"),
        "{refusal}"
    );
}

#[test]
fn bombs_and_endless_tables_are_refused() {
    let mut rows = "<row><c><v>1</v></c></row>".repeat(10).into_bytes();
    rows.resize(100 << 20, b' ');
    let file = xlsx(&[("Bomba", &String::from_utf8(rows).unwrap())], &[]);
    assert!(matches!(
        read_bytes(&file, Format::Xlsx),
        Err(Refusal::UnpacksTooBig { .. })
    ));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let bounds = Bounds {
        cells: 100,
        ..Bounds::default()
    };
    let many = "<row><c><v>1</v></c><c><v>2</v></c></row>".repeat(51);
    std::fs::write(&path, xlsx(&[("Prvi", &many)], &[])).unwrap();
    assert_eq!(
        extract_here(&path, Format::Xlsx, bounds, None),
        Err(Refusal::TooManyParts { max: 100 })
    );
    let strings = ["x"; 101];
    std::fs::write(&path, xlsx(&[("Prvi", "")], &strings)).unwrap();
    assert_eq!(
        extract_here(&path, Format::Xlsx, bounds, None),
        Err(Refusal::TooManyParts { max: 100 })
    );
    // A thousand times a thousand cells from two hundred bytes.
    let file = ods(
        "<office:body><table:table table:name='a'><table:table-row table:number-rows-repeated='4000000000'>\
         <table:table-cell table:number-columns-repeated='4000000000'><text:p>x</text:p></table:table-cell></table:table-row></table:table></office:body>",
    );
    std::fs::write(&path, file).unwrap();
    assert_eq!(
        extract_here(&path, Format::Ods, bounds, None),
        Err(Refusal::TooManyParts { max: 100 })
    );
}

/// Row, column and style of a cell, and what follows.
fn cell(row: u16, column: u16, style: u16, rest: &[u8]) -> Vec<u8> {
    let mut cell: Vec<u8> = [row, column, style]
        .into_iter()
        .flat_map(u16::to_le_bytes)
        .collect();
    cell.extend_from_slice(rest);
    cell
}

#[test]
fn binary_workbooks_with_every_kind_of_cell() {
    let globals: [(u16, &[u8]); 5] = [
        (0x041e, b"\xa4\0\x08\0\x000.00\"kn\""),
        (0x00e0, &[0; 20]),
        (0x00e0, b"\0\0\xa4\0"),
        (0x00e0, b"\0\0\x0e\0"),
        (
            0x00fc,
            b"\x02\0\0\0\x02\0\0\0\x03\0\0Ime\x06\0\x01I\0z\0n\0o\0s\0\x0d\x01",
        ),
    ];
    let text_result = cell(2, 0, 0, &[0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0]);
    let sheet: [(u16, &[u8]); 9] = [
        (0x00fd, &cell(0, 0, 0, &[0, 0, 0, 0])),
        (0x00fd, &cell(0, 1, 0, &[1, 0, 0, 0])),
        // A chart in the sheet, with a number of its own.
        (0x0809, &[0x00, 0x06, 0x20, 0x00]),
        (0x0203, &cell(0, 0, 0, &99_f64.to_le_bytes())),
        (0x000a, b""),
        (0x0006, &text_result),
        (0x0207, b"\x03\0\0Ana"),
        (0x0203, &cell(2, 1, 1, &1234.5_f64.to_le_bytes())),
        // Two numbers in one record: 5, and the days to 2026-03-31.
        (
            0x00bd,
            &[
                &cell(3, 0, 0, b"\x16\0\0\0")[..],
                b"\x02\0",
                &(46_112_u32 << 2 | 2).to_le_bytes(),
                b"\x01\0",
            ]
            .concat(),
        ),
    ];
    let extracted = read_bytes(&xls(&globals, &sheet), Format::Xls).unwrap();
    assert_eq!(
        blocks(&extracted),
        [
            (BlockKind::Heading(1), "Sheet: Plaće"),
            (BlockKind::TableRow, "Ime | Iznosč"),
            (BlockKind::TableRow, "Ana | 1234.50 kn"),
            (BlockKind::TableRow, "5 | 2026-03-31"),
        ]
    );
}

#[test]
fn binary_workbooks_that_are_locked_or_none() {
    assert_eq!(
        read_bytes(&xls(&[(0x002f, &[1, 0])], &[]), Format::Xls),
        Err(Refusal::PasswordProtected)
    );
    assert_eq!(
        read_bytes(&compound(&["EncryptedPackage"]), Format::Xls),
        Err(Refusal::PasswordProtected)
    );
    let refusal = read_bytes(&compound(&["WordDocument"]), Format::Xls).unwrap_err();
    assert!(
        refusal.to_string().contains("holds no Excel workbook"),
        "{refusal}"
    );
    assert_eq!(
        read_bytes(&xls(&[], &[]), Format::Xls),
        Err(Refusal::NoText)
    );
}

#[test]
fn values_without_text_are_shown_as_they_stand() {
    let cell = |attributes: &str, text: &str| {
        format!("<table:table-cell {attributes}>{text}</table:table-cell>")
    };
    let cells = [
        cell("office:value-type='float' office:value='12.5'", ""),
        cell("office:value-type='percentage' office:value='0.07'", ""),
        cell(
            "office:value-type='date' office:date-value='2026-03-31'",
            "",
        ),
        cell(
            "office:value-type='boolean' office:boolean-value='true'",
            "",
        ),
        cell("office:value-type='string' office:string-value='Ana'", ""),
        cell(
            "office:value-type='currency' office:value='5'",
            "<text:p>5,00 €</text:p>",
        ),
        cell("", ""),
    ]
    .concat();
    let file = ods(&format!(
        "<office:body><table:table table:name='A'><table:table-row>{cells}</table:table-row></table:table></office:body>"
    ));
    let extracted = read_bytes(&file, Format::Ods).unwrap();
    assert_eq!(
        blocks(&extracted)[1].1,
        "12.5 | 7% | 2026-03-31 | true | Ana | 5,00 €"
    );
}
