//! Pictures as files of their own: what scanners and telephones make of paper, and what is cut out
//! of a screen. Their text is recognised; a TIFF may have many pages.

use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};

use docent_domain::Progress;
use image::codecs::tiff::TiffDecoder;
use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{
    DynamicImage, GrayImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, Rgba,
    RgbaImage,
};

use super::Context;
use super::archive::Source;
use super::ocr::{Grey, MAX_PIXELS};
use super::pdf_layout::{Page, lay_out};
use super::scans::Scans;
use crate::extracted::{Extracted, Warning};
use crate::refusal::Refusal;

/// Pictures whose longer side is shorter are icons, rules and logos.
const SMALLEST_SIDE: u32 = 300;

/// Resolutions are often missing or wrong, so the long side counts as that of an A4 page, in points.
/// Only the proportions of what is on it matter.
const LONG_SIDE: f32 = 842.0;

/// Pictures of a screen have letters of some ten pixels, of which Tesseract wants twenty and more.
const ENLARGED_BELOW: u32 = 2000;

/// What a picture may unpack to: beside it stands a copy in grey, within the worker's 512 MB.
const MAX_DECODED_BYTES: u64 = 256 << 20;

/// More pages than a document has; a chain of them that leads back to its beginning never ends.
const MAX_PAGES: usize = 10_000;

pub fn extract(source: &mut dyn Source, context: &Context<'_>) -> Result<Extracted, Refusal> {
    let mut head = Vec::new();
    (&mut *source).take(16).read_to_end(&mut head)?;
    source.rewind()?;
    let format = image::guess_format(&head)
        .map_err(|_| Refusal::damaged("its beginning is no picture's"))?;
    let (pages, is_cut_off) = match format {
        ImageFormat::Tiff => tiff_pages(source)?,
        _ => (vec![0], false),
    };
    let total = pages.len() as u32;
    let mut scans = Scans::new(context.recognition);
    // The decoder leaves what is missing of a JPEG grey, and says nothing.
    let is_part = format == ImageFormat::Jpeg && scans.go_on() && is_cut_off_jpeg(source)?;
    let mut undecodable = Vec::new();
    let mut laid_out = Vec::new();
    for (done, offset) in (0..).zip(pages) {
        if (context.cancelled)() {
            return Err(Refusal::Cancelled);
        }
        (context.progress)(Progress {
            done,
            total: u64::from(total),
        });
        let page = match format {
            ImageFormat::Tiff => {
                let page = BufReader::new(TiffPage::new(source, offset)?);
                let decoder = TiffDecoder::new(page).map_err(refusal);
                decoder.and_then(|decoder| read(decoder, &mut scans, context))
            }
            _ => {
                let reader = ImageReader::with_format(BufReader::new(&mut *source), format);
                let decoder = reader.into_decoder().map_err(refusal);
                decoder.and_then(|decoder| read(decoder, &mut scans, context))
            }
        };
        laid_out.push(match page {
            Ok(page) => page,
            Err(Refusal::Cancelled) => return Err(Refusal::Cancelled),
            Err(refusal) if total > 1 => {
                scans.note_failure(&refusal);
                undecodable.push(refusal);
                Page::default()
            }
            Err(refusal) => return Err(refusal),
        });
    }
    if scans.pictures == 0 {
        return Err(Refusal::NoText);
    }
    if scans.recognised == 0 {
        let is_all = undecodable.len() == total as usize;
        let why = undecodable.pop().filter(|_| is_all);
        return Err(why.unwrap_or_else(|| scans.refusal(total)));
    }
    let mut extracted = lay_out(laid_out, &[], &context.bounds)?;
    extracted.warnings.extend(scans.warnings(total));
    if is_part {
        extracted.warnings.push(Warning::PartLeftOut {
            part: "the rest of the picture, which is not in the file".to_owned(),
        });
    }
    if is_cut_off {
        extracted.warnings.push(Warning::PartLeftOut {
            part: format!("the pages after page {total}"),
        });
    }
    Ok(extracted)
}

/// Whether a picture, of which the beginning will do, is of a kind that is read and large enough for
/// text.
pub fn may_hold_text(head: &[u8]) -> bool {
    let kind = image::guess_format(head).ok();
    let Some(kind) = kind.filter(|kind| kind.reading_enabled()) else {
        return false;
    };
    ImageReader::with_format(Cursor::new(head), kind)
        .into_dimensions()
        // The size may stand further on.
        .map_or(true, |(width, height)| width.max(height) >= SMALLEST_SIDE)
}

fn read(
    mut decoder: impl ImageDecoder,
    scans: &mut Scans<'_>,
    context: &Context<'_>,
) -> Result<Page, Refusal> {
    let (width, height) = decoder.dimensions();
    let max = context.bounds.picture_pixels;
    if u64::from(width) * u64::from(height) > max {
        return Err(Refusal::PictureTooBig { width, height, max });
    }
    // A damaged note of how the picture was held does not keep anybody from looking at it.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let (width, height) = if is_sideways(orientation) {
        (height, width)
    } else {
        (width, height)
    };
    let points = LONG_SIDE / width.max(height).max(1) as f32;
    let size = (width as f32 * points, height as f32 * points);
    let page = Page {
        width: size.0,
        height: size.1,
        ..Page::default()
    };
    if width.max(height) < SMALLEST_SIDE {
        return Ok(page);
    }
    if decoder.total_bytes() > MAX_DECODED_BYTES {
        return Err(Refusal::UnpacksTooBig {
            max_bytes: MAX_DECODED_BYTES,
        });
    }
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    decoder.set_limits(limits).map_err(refusal)?;
    // What is wrong with the picture itself is no failure to recognise its text.
    let picture = if scans.go_on() {
        Some(DynamicImage::from_decoder(decoder).map_err(refusal)?)
    } else {
        None
    };
    let read = scans.read(size, &Page::default(), context, || {
        let picture = picture.ok_or_else(|| "the time for it was used up".to_owned())?;
        Ok(to_grey(picture, orientation))
    })?;
    Ok(read.unwrap_or(page))
}

const fn is_sideways(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

/// In grey, on white paper, upright, at a size that suits recognition.
fn to_grey(picture: DynamicImage, orientation: Orientation) -> Grey {
    let pixels = if picture.color().has_alpha() {
        on_white(&picture.into_rgba8())
    } else {
        picture.into_luma8()
    };
    let mut pixels = DynamicImage::ImageLuma8(pixels);
    pixels.apply_orientation(orientation);
    let mut pixels = pixels.into_luma8();
    let (width, height) = pixels.dimensions();
    let area = width as f32 * height as f32;
    let scaled = |scale: f32| {
        let side = |side: u32| ((side as f32 * scale) as u32).max(1);
        (side(width), side(height))
    };
    if area > MAX_PIXELS {
        let (width, height) = scaled((MAX_PIXELS / area).sqrt());
        pixels = image::imageops::thumbnail(&pixels, width, height);
    } else if width.max(height) < ENLARGED_BELOW {
        let (width, height) = scaled(2.0);
        pixels = image::imageops::resize(&pixels, width, height, FilterType::CatmullRom);
    }
    Grey {
        width: pixels.width(),
        height: pixels.height(),
        pixels: pixels.into_raw(),
    }
}

/// What is seen through is the paper's white, whatever color stands behind it.
fn on_white(picture: &RgbaImage) -> GrayImage {
    GrayImage::from_fn(picture.width(), picture.height(), |x, y| {
        let Rgba([red, green, blue, alpha]) = *picture.get_pixel(x, y);
        // ITU-R BT.709, as `into_luma8` weighs them.
        let light =
            (2126 * u32::from(red) + 7152 * u32::from(green) + 722 * u32::from(blue)) / 10_000;
        let (alpha, white) = (u32::from(alpha), u32::from(u8::MAX));
        image::Luma([((light * alpha + white * (white - alpha)) / white) as u8])
    })
}

/// Where the directories of a TIFF's pages begin, and whether there are more that cannot be found.
fn tiff_pages(source: &mut dyn Source) -> Result<(Vec<u64>, bool), Refusal> {
    let mut decoder =
        tiff::decoder::Decoder::new(BufReader::new(&mut *source)).map_err(damaged_tiff)?;
    let mut pages = Vec::new();
    let is_cut_off = loop {
        pages.extend(decoder.ifd_pointer().map(|pointer| pointer.0));
        if pages.len() > MAX_PAGES {
            return Err(Refusal::TooManyParts {
                max: MAX_PAGES as u64,
            });
        }
        if !decoder.more_images() {
            break false;
        }
        if decoder.next_image().is_err() {
            break true;
        }
    };
    drop(decoder);
    source.rewind()?;
    Ok((pages, is_cut_off))
}

/// Whether a JPEG ends before the mark of its end.
fn is_cut_off_jpeg(source: &mut dyn Source) -> Result<bool, Refusal> {
    let mut reader = BufReader::new(&mut *source);
    let next = |reader: &mut BufReader<_>| {
        let mut byte = [0];
        let read = reader.read(&mut byte)?;
        Ok::<_, std::io::Error>((read > 0).then_some(byte[0]))
    };
    let is_cut_off = loop {
        // Outside of segments stand the pixels, in which a mark is never meant as one.
        match next(&mut reader)? {
            None => break true,
            Some(0xff) => {}
            Some(_) => continue,
        }
        let mark = loop {
            match next(&mut reader)? {
                Some(0xff) => {}
                mark => break mark,
            }
        };
        match mark {
            None => break true,
            Some(0xd9) => break false,
            Some(0 | 1 | 0xd0..=0xd8) => {}
            Some(_) => {
                let (Some(high), Some(low)) = (next(&mut reader)?, next(&mut reader)?) else {
                    break true;
                };
                let length = i64::from(u16::from_be_bytes([high, low]));
                reader.seek_relative((length - 2).max(0))?;
            }
        }
    };
    drop(reader);
    source.rewind()?;
    Ok(is_cut_off)
}

fn damaged_tiff(error: tiff::TiffError) -> Refusal {
    match error {
        tiff::TiffError::IoError(error) if error.raw_os_error().is_some() => error.into(),
        error => Refusal::damaged(error.to_string()),
    }
}

fn refusal(error: ImageError) -> Refusal {
    match error {
        // Decoders also report what is wrong with the data as errors of reading.
        ImageError::IoError(error) if error.raw_os_error().is_some() => error.into(),
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Refusal::damaged("the file ends in the middle of the picture")
        }
        ImageError::Unsupported(_) => Refusal::WrongContent {
            message:
                "It is a picture of a kind that Docent does not read. Save it as PNG, JPEG or PDF."
                    .to_owned(),
        },
        error => Refusal::damaged(error.to_string()),
    }
}

/// A TIFF as it would be if a later page of it came first: its header points to that page.
struct TiffPage<'a> {
    source: &'a mut dyn Source,
    header: Cursor<[u8; 16]>,
    length: u64,
    at: u64,
}

impl<'a> TiffPage<'a> {
    fn new(source: &'a mut dyn Source, directory: u64) -> Result<Self, Refusal> {
        let mut header = [0; 16];
        source.rewind()?;
        source.read_exact(&mut header)?;
        // "II" is little-endian; 43 is the version of those with offsets of eight bytes.
        let little = header[0] == b'I';
        let is_big = header[2] == 43 || header[3] == 43;
        if is_big {
            let directory = if little {
                directory.to_le_bytes()
            } else {
                directory.to_be_bytes()
            };
            header[8..16].copy_from_slice(&directory);
        } else {
            let directory = directory as u32;
            let directory = if little {
                directory.to_le_bytes()
            } else {
                directory.to_be_bytes()
            };
            header[4..8].copy_from_slice(&directory);
        }
        let length = source.seek(SeekFrom::End(0))?;
        source.rewind()?;
        Ok(Self {
            source,
            header: Cursor::new(header),
            length,
            at: 0,
        })
    }
}

impl Read for TiffPage<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = if self.at < self.header.get_ref().len() as u64 {
            self.header.set_position(self.at);
            self.header.read(buffer)?
        } else {
            self.source.seek(SeekFrom::Start(self.at))?;
            self.source.read(buffer)?
        };
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for TiffPage<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let (from, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::End(by) => (self.length, by),
            SeekFrom::Current(by) => (self.at, by),
        };
        self.at = from
            .checked_add_signed(by)
            .ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
