//! Files that are not what they seem.

use docent_domain::Format;
use docent_ingest::{Detection, FileStamp, Refusal, inspect};

use crate::fixtures::{PdfOptions, pdf, read, read_bytes};
use crate::seeds::{check, seeds};

#[test]
fn what_is_no_file_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    assert_eq!(
        read(&path("gone.txt"), Format::Text),
        Err(Refusal::Vanished)
    );
    assert!(matches!(
        read(folder.path(), Format::Text),
        Err(Refusal::NotAFile { .. })
    ));
    std::fs::write(path("empty.txt"), b"").unwrap();
    assert_eq!(read(&path("empty.txt"), Format::Text), Err(Refusal::Empty));
    std::fs::write(path("blank.txt"), b" \n\n ").unwrap();
    assert_eq!(read(&path("blank.txt"), Format::Text), Err(Refusal::NoText));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/etc/passwd", path("link.txt")).unwrap();
        assert!(matches!(
            read(&path("link.txt"), Format::Text),
            Err(Refusal::NotAFile { .. })
        ));
        // Opening a pipe that nobody writes to must not wait for somebody.
        assert!(
            std::process::Command::new("mkfifo")
                .arg(path("pipe.txt"))
                .status()
                .unwrap()
                .success()
        );
        assert!(matches!(
            inspect(&path("pipe.txt")),
            Err(Refusal::NotAFile { .. })
        ));
        let socket = std::os::unix::net::UnixListener::bind(path("socket.txt")).unwrap();
        assert!(matches!(
            inspect(&path("socket.txt")),
            Err(Refusal::NotAFile { .. })
        ));
        drop(socket);
        assert!(matches!(
            inspect(std::path::Path::new("/dev/zero")),
            Err(Refusal::NotAFile { .. })
        ));
    }
}

#[test]
fn inspection_tells_format_and_version() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.pdf");
    std::fs::write(&path, "not a PDF at all").unwrap();
    let inspection = inspect(&path).unwrap();
    assert!(matches!(
        inspection.detection,
        Detection::Unsupported { .. }
    ));
    assert_eq!(inspection.stamp, FileStamp::of(&path).unwrap());
    std::fs::write(&path, pdf(&[], &PdfOptions::default())).unwrap();
    assert_eq!(
        inspect(&path).unwrap().detection,
        Detection::Supported(Format::Pdf)
    );
}

#[test]
fn a_text_file_of_a_gigabyte_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.txt");
    // Sparse, so that the test costs no disk.
    std::fs::File::create(&path)
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    let refusal = read(&path, Format::Text).unwrap_err();
    assert!(matches!(
        refusal,
        Refusal::FileTooBig {
            bytes: 0x4000_0000,
            ..
        }
    ));
    assert!(refusal.to_string().contains("Split it"), "{refusal}");
}

#[test]
fn good_documents_keep_the_promises() {
    for (format, bytes) in seeds() {
        match read_bytes(&bytes, format) {
            Ok(extracted) => check(&extracted),
            Err(Refusal::PasswordProtected) => {}
            // Nothing is recognised here.
            Err(Refusal::Scanned { .. }) if format == Format::Picture => {}
            Err(refusal) => panic!("{format:?}: {refusal}"),
        }
    }
}
