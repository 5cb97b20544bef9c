//! Reads an LMDB file page by page before LMDB maps it.
//!
//! LMDB trusts its file: a damaged page ends the process by an assertion, a bus error or a wild
//! read, none of which can be caught. So the whole structure is walked here with bounds on
//! everything: both meta pages, every branch and leaf page, the order of keys, overflow runs,
//! the free list, and that every page up to the last belongs to exactly one of them. Content is
//! not judged; the records carry checksums of their own.
//!
//! The layout read here is LMDB's data format version 1 on a little-endian 64-bit machine
//! (`MDB_page`, `MDB_node`, `MDB_db` and `MDB_meta` in `mdb.c`). Databases with duplicate keys
//! are not supported, since the index has none. It costs about a microsecond a page.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use roaring::RoaringBitmap;

const PAGE_HEADER: usize = 16;
const NODE_HEADER: usize = 8;
const DB_BYTES: usize = 48;
const META_END: usize = PAGE_HEADER + 136;

const MAGIC: u32 = 0xBEEF_C0DE;
const DATA_VERSION: u32 = 1;

const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const OVERFLOW: u16 = 0x04;
const META: u16 = 0x08;

const BIG_DATA: u16 = 0x01;
const SUB_DATABASE: u16 = 0x02;

const INTEGER_KEY: u16 = 0x08;
const NO_ROOT: u64 = u64::MAX;
const MAX_KEY_BYTES: usize = 511;

/// LMDB's cursors hold this many levels.
const MAX_DEPTH: u16 = 32;

/// Past this size, the headers of overflow pages are not read: with wide vectors they are one
/// page in two of a file that may not be in memory.
const OVERFLOW_HEADERS_UP_TO: u64 = 512 << 20;

/// What is wrong with the file, for the report; `Io` is about reading it at all.
#[derive(Debug)]
pub(crate) enum Finding {
    Io(std::io::Error),
    Damage(String),
}

impl From<std::io::Error> for Finding {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

type Checked<T = ()> = Result<T, Finding>;

fn damage<T>(what: impl Into<String>) -> Checked<T> {
    Err(Finding::Damage(what.into()))
}

/// Checks the `data.mdb` at `path`. An empty file is a new one.
pub(crate) fn check(path: &Path) -> Checked {
    if cfg!(not(all(
        target_endian = "little",
        target_pointer_width = "64"
    ))) {
        return Ok(());
    }
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(());
    }
    let mut start = [0; META_END];
    if length < 2 * start.len() as u64 {
        return damage(format!(
            "{length} bytes are too few for its first two pages"
        ));
    }
    file.read_exact(&mut start)?;
    let first = Meta::read(&start, 0)?;
    let page_bytes = first.page_bytes;
    if !length.is_multiple_of(page_bytes as u64) || length < 2 * page_bytes as u64 {
        return damage(format!(
            "its length of {length} bytes is no whole number of pages"
        ));
    }
    file.seek(SeekFrom::Start(page_bytes as u64))?;
    file.read_exact(&mut start)?;
    let second = Meta::read(&start, 1)?;
    if second.page_bytes != page_bytes {
        return damage("its two first pages disagree about the page size");
    }
    let (older, newer) = if first.transaction >= second.transaction {
        (&second, &first)
    } else {
        (&first, &second)
    };
    if newer.transaction > 0
        && (newer.transaction - older.transaction > 1
            || newer.transaction % 2 != u64::from(newer.page))
    {
        return damage("its two first pages are not of successive transactions");
    }
    let mut walk = Walk {
        file,
        pages: length / page_bytes as u64,
        page_bytes,
        last_page: newer.last_page,
        overflow_headers: length <= OVERFLOW_HEADERS_UP_TO,
        used: RoaringBitmap::from_iter([0, 1]),
        free: RoaringBitmap::new(),
        at: 0,
    };
    if newer.last_page < 1 || newer.last_page >= u64::from(u32::MAX) {
        return damage("its last page is out of range");
    }
    walk.database(&newer.free, Kind::FreeList)?;
    walk.database(&newer.main, Kind::Main)?;
    if !walk.used.is_disjoint(&walk.free) {
        return damage("a page is both used and free");
    }
    if walk.used.len() + walk.free.len() != newer.last_page + 1 {
        return damage("some pages are neither used nor free");
    }
    Ok(())
}

struct Meta {
    page: u8,
    page_bytes: usize,
    free: Db,
    main: Db,
    last_page: u64,
    transaction: u64,
}

impl Meta {
    fn read(bytes: &[u8; META_END], page: u8) -> Checked<Self> {
        let name = match page {
            0 => "first",
            _ => "second",
        };
        if u64_at(bytes, 0)? != u64::from(page) || u16_at(bytes, 10)? & META == 0 {
            return damage(format!(
                "its {name} page is not where LMDB describes the file"
            ));
        }
        if u32_at(bytes, 16)? != MAGIC || u32_at(bytes, 20)? != DATA_VERSION {
            return damage(format!("its {name} page is not LMDB's"));
        }
        let page_bytes = u32_at(bytes, 40)? as usize;
        if !page_bytes.is_power_of_two() || !(512..=32_768).contains(&page_bytes) {
            return damage(format!("its {name} page names a page size of {page_bytes}"));
        }
        Ok(Self {
            page,
            page_bytes,
            free: Db::read(&bytes[40..])?,
            main: Db::read(&bytes[40 + DB_BYTES..])?,
            last_page: u64_at(bytes, 40 + 2 * DB_BYTES)?,
            transaction: u64_at(bytes, 48 + 2 * DB_BYTES)?,
        })
    }
}

#[derive(Clone, Copy)]
struct Db {
    flags: u16,
    depth: u16,
    branches: u64,
    leaves: u64,
    overflows: u64,
    entries: u64,
    root: u64,
}

impl Db {
    fn read(bytes: &[u8]) -> Checked<Self> {
        Ok(Self {
            flags: u16_at(bytes, 4)?,
            depth: u16_at(bytes, 6)?,
            branches: u64_at(bytes, 8)?,
            leaves: u64_at(bytes, 16)?,
            overflows: u64_at(bytes, 24)?,
            entries: u64_at(bytes, 32)?,
            root: u64_at(bytes, 40)?,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    FreeList,
    /// Holds the named databases.
    Main,
    Named,
}

#[derive(Default)]
struct Seen {
    branches: u64,
    leaves: u64,
    overflows: u64,
    entries: u64,
    last_key: Option<Vec<u8>>,
    /// The key by which a branch leads to the next leaf.
    least_key: Option<Vec<u8>>,
}

struct Walk {
    file: File,
    pages: u64,
    page_bytes: usize,
    last_page: u64,
    overflow_headers: bool,
    used: RoaringBitmap,
    free: RoaringBitmap,
    /// Where the file stands, so that consecutive pages are read without a seek.
    at: u64,
}

impl Walk {
    fn database(&mut self, db: &Db, kind: Kind) -> Checked {
        // The free list's flags are also the environment's.
        let flags = match kind {
            Kind::FreeList => INTEGER_KEY,
            Kind::Main | Kind::Named => 0,
        };
        if db.flags != flags {
            return damage(format!("a database has unknown flags {:#x}", db.flags));
        }
        let mut seen = Seen::default();
        if db.root == NO_ROOT {
            if db.depth != 0 {
                return damage("an empty database has levels");
            }
        } else {
            if db.depth == 0 || db.depth > MAX_DEPTH {
                return damage(format!("a database has {} levels", db.depth));
            }
            self.tree(db.root, db.depth, kind, &mut seen)?;
        }
        if (seen.branches, seen.leaves, seen.overflows, seen.entries)
            != (db.branches, db.leaves, db.overflows, db.entries)
        {
            return damage("a database has more or fewer pages than it says");
        }
        Ok(())
    }

    fn tree(&mut self, number: u64, depth: u16, kind: Kind, seen: &mut Seen) -> Checked {
        let page = self.page(number)?;
        self.claim(number, 1)?;
        let flags = u16_at(&page, 10)?;
        let lower = u16_at(&page, 12)? as usize;
        let upper = u16_at(&page, 14)? as usize;
        if lower < PAGE_HEADER
            || lower > upper
            || upper > self.page_bytes
            || !lower.is_multiple_of(2)
        {
            return damage(format!("page {number} has impossible bounds"));
        }
        let nodes = (lower - PAGE_HEADER) / 2;
        let expected = if depth > 1 { BRANCH } else { LEAF };
        if flags != expected {
            return damage(format!("page {number} is of the wrong kind"));
        }
        if nodes == 0 || (depth > 1 && nodes < 2) {
            return damage(format!("page {number} has {nodes} entries"));
        }
        let mut bytes_taken = 0;
        for index in 0..nodes {
            let at = u16_at(&page, PAGE_HEADER + 2 * index)? as usize;
            let key_bytes = u16_at(&page, at + 6)? as usize;
            let key_end = at + NODE_HEADER + key_bytes;
            if at < upper
                || !at.is_multiple_of(2)
                || key_bytes > MAX_KEY_BYTES
                || key_end > page.len()
            {
                return damage(format!("page {number} has an entry out of bounds"));
            }
            let key = &page[at + NODE_HEADER..key_end];
            let low = u64::from(u16_at(&page, at)?);
            let high = u64::from(u16_at(&page, at + 2)?);
            let node_flags = u16_at(&page, at + 4)?;
            if depth > 1 {
                // LMDB never reads the key of a branch's first entry.
                if index > 0 {
                    in_order(seen.last_key.as_deref(), key, kind, false)?;
                    seen.least_key = Some(key.to_vec());
                }
                bytes_taken += even(NODE_HEADER + key_bytes);
                let child = low | high << 16 | u64::from(node_flags) << 32;
                self.tree(child, depth - 1, kind, seen)?;
                continue;
            }
            in_order(seen.last_key.as_deref(), key, kind, false)?;
            in_order(seen.least_key.take().as_deref(), key, kind, true)?;
            seen.last_key = Some(key.to_vec());
            let size = (low | high << 16) as usize;
            let value = self.value(&page, key_end, size, node_flags, seen)?;
            bytes_taken += even(NODE_HEADER + key_bytes + value.inline);
            self.leaf_entry(kind, node_flags, &page, key_end, size, value)?;
            seen.entries += 1;
        }
        if bytes_taken != self.page_bytes - upper {
            return damage(format!("the entries of page {number} overlap"));
        }
        match depth {
            1 => seen.leaves += 1,
            _ => seen.branches += 1,
        }
        Ok(())
    }

    fn leaf_entry(
        &mut self,
        kind: Kind,
        node_flags: u16,
        page: &[u8],
        at: usize,
        size: usize,
        value: Value,
    ) -> Checked {
        match kind {
            Kind::Named if node_flags & SUB_DATABASE == 0 => Ok(()),
            Kind::Main if node_flags == SUB_DATABASE && size == DB_BYTES => {
                let db = Db::read(&page[at..at + size])?;
                self.database(&db, Kind::Named)
            }
            Kind::FreeList if node_flags & SUB_DATABASE == 0 => {
                let bytes = match value.overflow {
                    Some(first) => self.run(first, size)?,
                    None => page[at..at + size].to_vec(),
                };
                self.free_pages(&bytes)
            }
            Kind::Named | Kind::Main | Kind::FreeList => {
                damage("an entry is of the wrong kind for its database")
            }
        }
    }

    /// Where the value of a leaf entry is, after its bounds and overflow pages were checked.
    fn value(
        &mut self,
        page: &[u8],
        at: usize,
        size: usize,
        node_flags: u16,
        seen: &mut Seen,
    ) -> Checked<Value> {
        if node_flags & !(BIG_DATA | SUB_DATABASE) != 0 {
            return damage("an entry has unknown flags");
        }
        let inline = if node_flags & BIG_DATA == 0 { size } else { 8 };
        if at + inline > page.len() {
            return damage("an entry's value is out of bounds");
        }
        if node_flags & BIG_DATA == 0 {
            return Ok(Value {
                inline,
                overflow: None,
            });
        }
        let first = u64_at(page, at)?;
        let count = ((PAGE_HEADER - 1 + size) / self.page_bytes + 1) as u64;
        self.claim(first, count)?;
        if self.overflow_headers {
            let header = self.header(first)?;
            if u64_at(&header, 0)? != first
                || u16_at(&header, 10)? != OVERFLOW
                || u64::from(u32_at(&header, 12)?) != count
            {
                return damage(format!("page {first} doesn't begin a long value"));
            }
        }
        seen.overflows += count;
        Ok(Value {
            inline,
            overflow: Some(first),
        })
    }

    fn free_pages(&mut self, bytes: &[u8]) -> Checked {
        let count = u64_at(bytes, 0)?;
        if bytes.len() as u64 != 8 * count.saturating_add(1) {
            return damage("a list of free pages has the wrong length");
        }
        for bytes in bytes.chunks_exact(8).skip(1) {
            let page = u64_at(bytes, 0)?;
            if page > self.last_page || !self.free.insert(page as u32) {
                return damage(format!("page {page} is free twice, or past the end"));
            }
        }
        Ok(())
    }

    /// Notes that `count` pages from `first` on are used, once.
    fn claim(&mut self, first: u64, count: u64) -> Checked {
        let end = first.saturating_add(count);
        if end > self.last_page + 1 || end > self.pages {
            return damage(format!("page {first} is past the end of the file"));
        }
        if self.used.insert_range(first as u32..end as u32) != count {
            return damage(format!("page {first} is used twice"));
        }
        Ok(())
    }

    fn page(&mut self, number: u64) -> Checked<Vec<u8>> {
        let mut page = vec![0; self.page_bytes];
        self.read_at(number, &mut page)?;
        if u64_at(&page, 0)? != number {
            return damage(format!("page {number} has another number"));
        }
        Ok(page)
    }

    fn header(&mut self, number: u64) -> Checked<[u8; PAGE_HEADER]> {
        let mut header = [0; PAGE_HEADER];
        self.read_at(number, &mut header)?;
        Ok(header)
    }

    /// The value in the overflow pages from `first` on.
    fn run(&mut self, first: u64, size: usize) -> Checked<Vec<u8>> {
        let mut bytes = vec![0; PAGE_HEADER + size];
        self.read_at(first, &mut bytes)?;
        bytes.drain(..PAGE_HEADER);
        Ok(bytes)
    }

    fn read_at(&mut self, page: u64, into: &mut [u8]) -> Checked {
        if page >= self.pages {
            return damage(format!("page {page} is past the end of the file"));
        }
        let offset = page * self.page_bytes as u64;
        if self.at != offset {
            self.file.seek(SeekFrom::Start(offset))?;
        }
        match self.file.read_exact(into) {
            Ok(()) => {
                self.at = offset + into.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                damage(format!("page {page} is past the end of the file"))
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[derive(Clone, Copy)]
struct Value {
    /// Bytes that it takes in its leaf page.
    inline: usize,
    overflow: Option<u64>,
}

fn in_order(before: Option<&[u8]>, key: &[u8], kind: Kind, or_equal: bool) -> Checked {
    let Some(before) = before else {
        return Ok(());
    };
    let order = if kind == Kind::FreeList {
        u64_at(before, 0)?.cmp(&u64_at(key, 0)?)
    } else {
        before.cmp(key)
    };
    if order.is_lt() || (or_equal && order.is_eq()) {
        Ok(())
    } else {
        damage("its keys are out of order")
    }
}

const fn even(bytes: usize) -> usize {
    bytes + (bytes & 1)
}

fn u16_at(bytes: &[u8], at: usize) -> Checked<u16> {
    Ok(u16::from_le_bytes(array_at(bytes, at)?))
}

fn u32_at(bytes: &[u8], at: usize) -> Checked<u32> {
    Ok(u32::from_le_bytes(array_at(bytes, at)?))
}

fn u64_at(bytes: &[u8], at: usize) -> Checked<u64> {
    Ok(u64::from_le_bytes(array_at(bytes, at)?))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Checked<[u8; N]> {
    match bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(array) => Ok(*array),
        None => damage("an entry is out of bounds"),
    }
}
