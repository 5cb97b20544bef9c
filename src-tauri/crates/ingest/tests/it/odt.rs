//! OpenDocument texts built by hand.

use docent_domain::Format;
use docent_ingest::{BlockKind, Refusal, Warning};

use crate::fixtures::{blocks, ods, odt, read_bytes, texts, zip};

#[test]
fn structure_comes_from_outline_levels_lists_and_tables() {
    let file = odt(
        "<office:automatic-styles><style:style style:name='P1' style:parent-style-name='Title'/>\
         <style:style style:name='P2' style:parent-style-name='Moj'/>\
         <text:list-style style:name='L1'><text:list-level-style-number text:level='1' style:num-format='1' style:num-suffix='.'/>\
         <text:list-level-style-number text:level='2' style:num-format='a' style:num-suffix=')'/></text:list-style></office:automatic-styles>\
         <office:body><office:text><text:sequence-decls/><text:tracked-changes><text:p>obrisano</text:p></text:tracked-changes>\
         <text:p text:style-name='P1'>Pravilnik</text:p>\
         <text:table-of-content><text:p>Uvod 3</text:p></text:table-of-content>\
         <text:h text:outline-level='2'>Uvod</text:h>\
         <text:p>Prvi<text:s text:c='2'/>odlomak<text:note><text:note-citation>1</text:note-citation>\
         <text:note-body><text:p>Izvor: NN 1/26.</text:p></text:note-body></text:note> ide<text:line-break/>dalje.<office:annotation><text:p>primjedba</text:p></office:annotation></text:p>\
         <text:list text:style-name='L1'><text:list-item><text:p>jedan</text:p><text:list><text:list-item><text:p>pod</text:p></text:list-item></text:list></text:list-item>\
         <text:list-item><text:p>dva</text:p><text:p>još o dva</text:p></text:list-item></text:list>\
         <text:list text:style-name='L1'><text:list-item><text:p>opet jedan</text:p></text:list-item></text:list>\
         <text:p>Članak 5.</text:p>\
         <table:table><table:table-row><table:table-cell><text:p>Ime</text:p></table:table-cell><table:table-cell><text:p>Broj</text:p></table:table-cell></table:table-row>\
         <table:table-row><table:table-cell><text:p>Ana</text:p><text:p>Anić</text:p></table:table-cell><table:table-cell/></table:table-row></table:table>\
         <text:p text:style-name='P2'>Citat</text:p></office:text></office:body>",
        "<style:style style:name='Moj' style:parent-style-name='Quotations'/>",
    );
    let extracted = read_bytes(&file, Format::Odt).unwrap();
    assert_eq!(
        blocks(&extracted),
        [
            (BlockKind::Heading(1), "Pravilnik"),
            (BlockKind::Heading(2), "Uvod"),
            (BlockKind::Paragraph, "Prvi odlomak[1] ide\ndalje."),
            (BlockKind::Paragraph, "[1] Izvor: NN 1/26."),
            (BlockKind::ListItem, "1. jedan"),
            (BlockKind::ListItem, "  a) pod"),
            (BlockKind::ListItem, "2. dva"),
            (BlockKind::ListItem, "još o dva"),
            (BlockKind::ListItem, "1. opet jedan"),
            (BlockKind::Heading(4), "Članak 5."),
            (BlockKind::TableHeader, "Ime | Broj"),
            (BlockKind::TableRow, "Ana Anić |"),
            (BlockKind::Quote, "Citat"),
        ]
    );
    assert_eq!(extracted.title.as_deref(), Some("Tekst"));
}

#[test]
fn damage_passwords_and_other_kinds() {
    let file = odt("<office:body><text:p>Prvi</text:p></oops>", "");
    let extracted = read_bytes(&file, Format::Odt).unwrap();
    assert_eq!(extracted.text, "Prvi");
    assert!(matches!(
        extracted.warnings[..],
        [Warning::PartLeftOut { .. }]
    ));
    assert!(matches!(
        read_bytes(&odt("</oops>", ""), Format::Odt),
        Err(Refusal::Damaged { .. })
    ));
    let manifest = b"<m:manifest><m:file-entry><m:encryption-data/></m:file-entry></m:manifest>";
    let encrypted = zip(&[
        ("META-INF/manifest.xml", manifest),
        ("content.xml", b"\x01"),
    ]);
    assert_eq!(
        read_bytes(&encrypted, Format::Odt),
        Err(Refusal::PasswordProtected)
    );
    let refusal = read_bytes(&ods("<x/>"), Format::Odt).unwrap_err();
    assert!(matches!(refusal, Refusal::WrongContent { .. }), "{refusal}");
    let bomb = format!("<office:body><text:p>{}", " ".repeat(100 << 20));
    assert!(matches!(
        read_bytes(&odt(&bomb, ""), Format::Odt),
        Err(Refusal::UnpacksTooBig { .. })
    ));
}

#[test]
fn headings_are_counted_and_numbers_begin_where_they_say() {
    let styles = "<text:outline-style><text:outline-level-style text:level='1' style:num-format='1' style:num-prefix='Članak ' style:num-suffix='.'/>\
        <text:outline-level-style text:level='2' style:num-format='1' text:display-levels='2'/>\
        <text:outline-level-style text:level='3' style:num-format=''/></text:outline-style>\
        <style:style style:name='Bez' style:list-style-name=''/>";
    let file = odt(
        "<office:automatic-styles><text:list-style style:name='L1'><text:list-level-style-number text:level='1' style:num-format='1' style:num-suffix='.'/></text:list-style></office:automatic-styles>\
         <office:body><office:text><text:h text:outline-level='1'>Predmet</text:h><text:h text:outline-level='2'>Opseg</text:h>\
         <text:h text:outline-level='3'>Bez oznake</text:h><text:h text:outline-level='1' text:is-list-header='true'>Uvod</text:h>\
         <text:h text:outline-level='1' text:style-name='Bez'>Prilog</text:h><text:h text:outline-level='1'>Cijena</text:h>\
         <text:h text:outline-level='1' text:restart-numbering='true' text:start-value='7'>Rok</text:h>\
         <text:list text:style-name='L1'><text:list-item text:start-value='5'><text:p>prva</text:p></text:list-item><text:list-item><text:p>druga</text:p></text:list-item></text:list>\
         </office:text></office:body>",
        styles,
    );
    let extracted = read_bytes(&file, Format::Odt).unwrap();
    assert_eq!(
        blocks(&extracted),
        [
            (BlockKind::Heading(1), "Članak 1. Predmet"),
            (BlockKind::Heading(2), "1.1 Opseg"),
            (BlockKind::Heading(3), "Bez oznake"),
            (BlockKind::Heading(1), "Uvod"),
            (BlockKind::Heading(1), "Prilog"),
            (BlockKind::Heading(1), "Članak 2. Cijena"),
            (BlockKind::Heading(1), "Članak 7. Rok"),
            (BlockKind::ListItem, "5. prva"),
            (BlockKind::ListItem, "6. druga"),
        ]
    );
}

#[test]
fn headers_and_footers_are_written_once() {
    let file = odt(
        "<office:body><office:text><text:p>Rješenje.</text:p></office:text></office:body>",
        "<style:master-page><style:header><text:p>Urbroj 5</text:p></style:header><style:header-first><text:p>Urbroj 5</text:p><text:p>Sud u Osijeku</text:p></style:header-first>\
         <style:footer><text:p>Stranica <text:page-number>1</text:page-number></text:p><text:p>OIB 12345678903</text:p></style:footer></style:master-page>",
    );
    let extracted = read_bytes(&file, Format::Odt).unwrap();
    assert_eq!(
        texts(&extracted),
        ["Urbroj 5", "Sud u Osijeku", "Rješenje.", "OIB 12345678903"]
    );
}
