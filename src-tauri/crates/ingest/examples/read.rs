//! Reads files in this process and shows what Docent makes of them, for judging extraction by eye:
//! `cargo run -p docent-ingest --example read -- [--text] PDFIUM_DIR FILE…`

use std::path::{Path, PathBuf};
use std::time::Instant;

use docent_ingest::{Bounds, Detection, extract_here, inspect};

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let show_text = arguments.first().is_some_and(|first| first == "--text");
    if show_text {
        arguments.remove(0);
    }
    let Some((pdfium, files)) = arguments.split_first() else {
        eprintln!("usage: read [--text] PDFIUM_DIR FILE…");
        std::process::exit(2);
    };
    let (mut pages, mut seconds) = (0, 0.0);
    for file in files {
        let path = PathBuf::from(file);
        let format = match inspect(&path) {
            Ok(inspection) => match inspection.detection {
                Detection::Supported(format) => format,
                Detection::Unsupported { reason } => {
                    println!("{file}: {reason}");
                    continue;
                }
            },
            Err(refusal) => {
                println!("{file}: {refusal}");
                continue;
            }
        };
        let start = Instant::now();
        match extract_here(&path, format, Bounds::default(), Some(Path::new(pdfium))) {
            Ok(extracted) => {
                let took = start.elapsed().as_secs_f64();
                pages += extracted.pages.len();
                seconds += took;
                println!(
                    "{file}: {:?}, {} chars, {} blocks, {} pages, {:.0} pages/s, warnings {:?}",
                    extracted.title,
                    extracted.text.chars().count(),
                    extracted.blocks.len(),
                    extracted.pages.len(),
                    extracted.pages.len() as f64 / took,
                    extracted.warnings,
                );
                if show_text {
                    // One pass: slicing each span would count the text's characters every time.
                    let bytes: Vec<usize> = extracted
                        .text
                        .char_indices()
                        .map(|(byte, _)| byte)
                        .chain([extracted.text.len()])
                        .collect();
                    for block in &extracted.blocks {
                        let (start, end) = (block.span.start as usize, block.span.end as usize);
                        println!(
                            "[{:?}] {}",
                            block.kind,
                            &extracted.text[bytes[start]..bytes[end]]
                        );
                    }
                }
            }
            Err(refusal) => println!("{file}: {refusal}"),
        }
    }
    println!(
        "{pages} pages in {seconds:.2} s: {:.0} pages/s",
        pages as f64 / seconds
    );
}
