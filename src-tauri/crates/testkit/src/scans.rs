//! PDFs whose pages are pictures, as scanners make them.

use std::fmt::Write as _;

/// Grey pixels, 0 is black, row by row from the top.
#[derive(Clone)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
}

pub enum ScannedPage<'a> {
    Picture(&'a Picture),
    /// A picture, and a line with a text layer at the foot of the page.
    Stamped(&'a Picture, &'a str),
    /// A picture whose data is in no format that it could be in.
    Damaged,
    /// One line with a text layer.
    Text(&'a str),
}

impl Picture {
    /// A sheet on which there is nothing but the scanner's noise.
    #[must_use]
    pub fn noise(width: usize, height: usize) -> Self {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let pixels = (0..width * height)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_be_bytes()[0]
            })
            .collect();
        Self {
            width,
            height,
            pixels,
        }
    }

    /// Turned by a quarter to the right.
    #[must_use]
    pub fn turned(&self) -> Self {
        let (width, height) = (self.height, self.width);
        let pixels = (0..height)
            .flat_map(|y| (0..width).map(move |x| (self.height - 1 - x) * self.width + y))
            .map(|at| self.pixels[at])
            .collect();
        Self {
            width,
            height,
            pixels,
        }
    }
}

/// A PDF of pages of `size` points.
#[must_use]
pub fn scanned_pdf(pages: &[ScannedPage<'_>], (width, height): (f32, f32)) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n".to_vec();
    let mut offsets = Vec::new();
    let mut object = |file: &mut Vec<u8>, dictionary: &str, stream: Option<&[u8]>| {
        offsets.push(file.len());
        let number = offsets.len();
        file.extend(format!("{number} 0 obj\n").bytes());
        match stream {
            None => file.extend(format!("<< {dictionary} >>").bytes()),
            Some(bytes) => {
                file.extend(
                    format!("<< {dictionary} /Length {} >>\nstream\n", bytes.len()).bytes(),
                );
                file.extend_from_slice(bytes);
                file.extend(b"\nendstream");
            }
        }
        file.extend(b"\nendobj\n");
    };
    let kids = (0..pages.len()).fold(String::new(), |mut kids, index| {
        let _ = write!(kids, "{} 0 R ", 4 + 3 * index);
        kids
    });
    object(&mut file, "/Type /Catalog /Pages 2 0 R", None);
    let count = pages.len();
    object(
        &mut file,
        &format!("/Type /Pages /Kids [{kids}] /Count {count}"),
        None,
    );
    object(
        &mut file,
        "/Type /Font /Subtype /Type1 /BaseFont /Helvetica",
        None,
    );
    for (index, page) in pages.iter().enumerate() {
        let first = 4 + 3 * index;
        object(
            &mut file,
            &format!(
                "/Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Contents {} 0 R \
                 /Resources << /Font << /F1 3 0 R >> /XObject << /Im {} 0 R >> >>",
                first + 1,
                first + 2
            ),
            None,
        );
        let content = match page {
            ScannedPage::Text(line) => format!("BT /F1 12 Tf 70 700 Td ({line}) Tj ET"),
            ScannedPage::Picture(_) | ScannedPage::Stamped(..) | ScannedPage::Damaged => {
                format!("q {width} 0 0 {height} 0 0 cm /Im Do Q")
            }
        };
        let stamp = match page {
            ScannedPage::Stamped(_, line) => format!("\nBT /F1 8 Tf 60 20 Td ({line}) Tj ET"),
            _ => String::new(),
        };
        object(&mut file, "", Some((content + &stamp).as_bytes()));
        let image = |width: usize, height: usize, more: &str| {
            format!(
                "/Type /XObject /Subtype /Image /Width {width} /Height {height} /ColorSpace \
                 /DeviceGray /BitsPerComponent 8 {more}"
            )
        };
        match page {
            ScannedPage::Picture(picture) | ScannedPage::Stamped(picture, _) => object(
                &mut file,
                &image(picture.width, picture.height, ""),
                Some(&picture.pixels),
            ),
            ScannedPage::Damaged => {
                object(
                    &mut file,
                    &image(900, 1200, "/Filter /DCTDecode"),
                    Some(b"\xff\xd8 no JPEG"),
                );
            }
            ScannedPage::Text(_) => object(&mut file, &image(1, 1, ""), Some(b"x")),
        }
    }
    let start = file.len();
    let mut tail = format!("xref\n0 {}\n0000000000 65535 f \n", offsets.len() + 1);
    for offset in &offsets {
        let _ = writeln!(tail, "{offset:010} 00000 n ");
    }
    let _ = write!(
        tail,
        "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n",
        offsets.len() + 1
    );
    file.extend(tail.bytes());
    file
}
