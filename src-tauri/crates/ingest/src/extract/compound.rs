//! Compound files (MS-CFB): a small file system in a file, which old Office files are made of and
//! which wraps new ones that are encrypted.

use std::io::{Read as _, SeekFrom};

use super::archive::Source;
use crate::refusal::Refusal;

const SIGNATURE: [u8; 8] = [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];
const HEADER: usize = 512;
/// Entries of sector chains above this are marks, not sectors.
const LAST_SECTOR: u32 = 0xffff_fffa;
/// Directory entries that are looked at.
const MAX_ENTRIES: usize = 10_000;
const ENTRY: usize = 128;

/// Whether a file begins as compound files do.
pub fn is_compound(source: &mut dyn Source) -> Result<bool, Refusal> {
    source.seek(SeekFrom::Start(0))?;
    let mut head = Vec::new();
    (&mut *source)
        .take(SIGNATURE.len() as u64)
        .read_to_end(&mut head)?;
    source.seek(SeekFrom::Start(0))?;
    Ok(head == SIGNATURE)
}

/// Why a compound file with the name of a new Office file is not read.
pub fn refusal(source: &mut dyn Source) -> Refusal {
    match Compound::open(source) {
        Ok(compound) if compound.has("EncryptedPackage") => Refusal::PasswordProtected,
        Ok(_) => Refusal::WrongContent {
            message: "By its name the file is a new Office file, but it is an old one. Save it in \
                      the new format and add that."
                .to_owned(),
        },
        Err(refusal) => refusal,
    }
}

pub struct Compound<'a> {
    sectors: Sectors<'a>,
    entries: Vec<Entry>,
    /// Streams below this size stand in the mini stream.
    cutoff: u64,
    /// The sectors of the table that says which mini sector follows which.
    mini_table: u32,
}

struct Entry {
    name: String,
    kind: u8,
    first: u32,
    size: u64,
}

const STREAM: u8 = 2;
const ROOT: u8 = 5;
/// Bytes of a sector in the mini stream.
const MINI_SECTOR: usize = 64;

impl<'a> Compound<'a> {
    pub fn open(source: &'a mut dyn Source) -> Result<Self, Refusal> {
        let length = source.seek(SeekFrom::End(0))?;
        source.seek(SeekFrom::Start(0))?;
        let mut header = Vec::new();
        (&mut *source)
            .take(HEADER as u64)
            .read_to_end(&mut header)?;
        if header.len() < HEADER || !header.starts_with(&SIGNATURE) {
            return Err(damaged());
        }
        let shift = u32::from(u16_at(&header, 30));
        if !matches!(shift, 9 | 12) {
            return Err(damaged());
        }
        let mut sectors = Sectors {
            source,
            size: 1 << shift,
            count: (length >> shift) as usize,
            next: Vec::new(),
        };
        sectors.read_allocation(&header)?;
        let directory = sectors.chain(u32_at(&header, 48), (MAX_ENTRIES * ENTRY) as u64)?;
        let entries = directory
            .chunks_exact(ENTRY)
            .filter(|entry| matches!(entry[66], 1 | STREAM | ROOT))
            .map(|entry| {
                let length = usize::from(u16_at(entry, 64)).saturating_sub(2).min(62);
                let units: Vec<u16> = entry[..length]
                    .chunks_exact(2)
                    .map(|unit| u16_at(unit, 0))
                    .collect();
                Entry {
                    name: String::from_utf16_lossy(&units),
                    kind: entry[66],
                    first: u32_at(entry, 116),
                    size: u64::from(u32_at(entry, 120)),
                }
            })
            .collect();
        Ok(Self {
            sectors,
            entries,
            cutoff: u64::from(u32_at(&header, 56)),
            mini_table: u32_at(&header, 60),
        })
    }

    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name)
    }

    /// A stream whole; `None` if there is none of that name, in capitals or not.
    pub fn stream(&mut self, name: &str, max: u64) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(entry) = self
            .entries
            .iter()
            .find(|entry| entry.kind == STREAM && entry.name.eq_ignore_ascii_case(name))
        else {
            return Ok(None);
        };
        let (first, size) = (entry.first, entry.size);
        if size > max {
            return Err(Refusal::UnpacksTooBig { max_bytes: max });
        }
        if size >= self.cutoff {
            return self.sectors.chain(first, size).map(Some);
        }
        let root = self.entries.iter().find(|entry| entry.kind == ROOT);
        let (root_first, root_size) = root
            .map(|root| (root.first, root.size))
            .ok_or_else(damaged)?;
        let mini = self.sectors.chain(root_first, root_size.min(max))?;
        let table = self.sectors.chain(self.mini_table, max)?;
        let mut bytes = Vec::new();
        let mut sector = first;
        while sector < LAST_SECTOR && (bytes.len() as u64) < size {
            let at = sector as usize * MINI_SECTOR;
            // What the file does not hold ends the stream; a ring ends with its size.
            let Some(piece) = mini.get(at..(at + MINI_SECTOR).min(mini.len())) else {
                break;
            };
            bytes.extend_from_slice(piece);
            let Some(next) = table.get(sector as usize * 4..sector as usize * 4 + 4) else {
                break;
            };
            sector = u32_at(next, 0);
        }
        bytes.truncate(size as usize);
        Ok(Some(bytes))
    }
}

struct Sectors<'a> {
    source: &'a mut dyn Source,
    size: usize,
    /// How many the file can hold: no chain is longer.
    count: usize,
    /// The sector after each.
    next: Vec<u32>,
}

impl Sectors<'_> {
    fn read(&mut self, sector: u32) -> Result<Vec<u8>, Refusal> {
        let offset = (u64::from(sector) + 1) * self.size as u64;
        self.source.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        (&mut *self.source)
            .take(self.size as u64)
            .read_to_end(&mut bytes)?;
        // The last sector may be cut short.
        bytes.resize(self.size, 0);
        Ok(bytes)
    }

    /// Reads the table of which sector follows which.
    fn read_allocation(&mut self, header: &[u8]) -> Result<(), Refusal> {
        let mut tables: Vec<u32> = header[76..HEADER]
            .chunks_exact(4)
            .map(|entry| u32_at(entry, 0))
            .collect();
        let mut more = u32_at(header, 68);
        let mut steps = 0;
        while more < LAST_SECTOR && steps <= self.count {
            let bytes = self.read(more)?;
            let (entries, link) = bytes.split_at(self.size - 4);
            tables.extend(entries.chunks_exact(4).map(|entry| u32_at(entry, 0)));
            more = u32_at(link, 0);
            steps += 1;
        }
        for sector in tables.into_iter().filter(|sector| *sector < LAST_SECTOR) {
            if self.next.len() > self.count || sector as usize >= self.count {
                break;
            }
            let bytes = self.read(sector)?;
            self.next
                .extend(bytes.chunks_exact(4).map(|entry| u32_at(entry, 0)));
        }
        Ok(())
    }

    /// What a chain of sectors holds, up to `max` bytes.
    fn chain(&mut self, first: u32, max: u64) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::new();
        let mut sector = first;
        let mut steps = 0;
        while sector < LAST_SECTOR && (bytes.len() as u64) < max {
            if steps > self.count || sector as usize >= self.count {
                return Err(damaged());
            }
            bytes.extend(self.read(sector)?);
            sector = *self.next.get(sector as usize).ok_or_else(damaged)?;
            steps += 1;
        }
        bytes.truncate(max.try_into().unwrap_or(usize::MAX));
        Ok(bytes)
    }
}

fn damaged() -> Refusal {
    Refusal::damaged("its table of contents cannot be read")
}

pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
