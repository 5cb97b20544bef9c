//! A look at a GGUF file before llama.cpp gets it.
//!
//! llama.cpp trusts much of what a file says. This reads the header with bounds on everything and
//! checks that each tensor lies inside the file, so that a truncated download or a forged header is
//! refused in words. Damage inside the weights shows only in the checksum, which is the model
//! store's business.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::Error;

const MAGIC: &[u8; 4] = b"GGUF";
/// Far above any real model: the largest have a few thousand tensors and a hundred values.
const MAX_ENTRIES: u64 = 1 << 20;
const MAX_NAME_BYTES: u64 = 1 << 16;
const MAX_ARRAY_DEPTH: u32 = 4;
const DEFAULT_ALIGNMENT: u64 = 32;

/// What the header says that matters before loading. Of a split model the first file's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub architecture: Option<String>,
    pub train_context: Option<u64>,
    pub layers: Option<u64>,
    pub heads: Option<u64>,
    pub key_value_heads: Option<u64>,
    pub embedding_length: Option<u64>,
    pub key_length: Option<u64>,
}

impl Header {
    /// Memory of the context per token: keys and values of every layer in 16-bit floats.
    pub(crate) fn context_bytes_per_token(&self) -> Option<u64> {
        let heads = self.heads.filter(|heads| *heads > 0)?;
        let per_head = self
            .key_length
            .or_else(|| Some(self.embedding_length? / heads))?;
        self.layers?
            .checked_mul(self.key_value_heads.unwrap_or(heads))?
            .checked_mul(per_head)?
            .checked_mul(2 * 2)
    }
}

/// Checks a model file, or all files of a split model when `path` is the first. Blocking; reads the
/// headers only.
pub(crate) fn check(path: &Path) -> Result<Header, Error> {
    let header = check_file(path)?;
    for part in further_parts(path) {
        check_file(&part)?;
    }
    Ok(header)
}

fn check_file(path: &Path) -> Result<Header, Error> {
    let file = File::open(path).map_err(|error| Error::Load {
        path: path.to_owned(),
        reason: match error.kind() {
            io::ErrorKind::NotFound => "the file is missing; fetch the model again".to_owned(),
            _ => error.to_string(),
        },
    })?;
    let length = file.metadata().map(|metadata| metadata.len());
    length
        .and_then(|length| read_header(BufReader::new(file), length))
        .map_err(|error| Error::ModelDamaged {
            path: path.to_owned(),
            reason: match error.kind() {
                io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
                _ => error.to_string(),
            },
        })
}

/// `NAME-00001-of-00003.gguf` has two further parts.
fn further_parts(path: &Path) -> Vec<PathBuf> {
    let parts = || {
        let stem = path.file_stem()?.to_str()?;
        let (rest, total) = stem.rsplit_once("-of-")?;
        let (name, first) = rest.rsplit_once('-')?;
        let total: u32 = total.parse().ok().filter(|total| *total <= 999)?;
        (first == "00001").then(|| {
            (2..=total)
                .map(|part| path.with_file_name(format!("{name}-{part:05}-of-{total:05}.gguf")))
                .collect()
        })
    };
    parts().unwrap_or_default()
}

fn read_header(input: impl Read + Seek, length: u64) -> io::Result<Header> {
    let mut input = Bounded {
        input,
        position: 0,
        length,
    };
    if input.bytes::<4>()? != *MAGIC {
        return Err(wrong("it does not begin as a GGUF file does"));
    }
    let version = input.u32()?;
    if !(2..=3).contains(&version) {
        return Err(wrong("its GGUF version is not 2 or 3"));
    }
    let tensors = input.count()?;
    let values = input.count()?;

    let mut header = Header::default();
    let mut alignment = DEFAULT_ALIGNMENT;
    for _ in 0..values {
        let key = input.name()?;
        let kind = input.u32()?;
        match (key.as_str(), input.value(kind, 0)?) {
            ("general.architecture", Value::Text(name)) => header.architecture = Some(name),
            ("general.alignment", Value::Number(bytes)) => alignment = bytes,
            (key, Value::Number(number)) => {
                let field = key.split_once('.').map_or(key, |(_, field)| field);
                match field {
                    "context_length" => header.train_context = Some(number),
                    "block_count" => header.layers = Some(number),
                    "attention.head_count" => header.heads = Some(number),
                    "attention.head_count_kv" => header.key_value_heads = Some(number),
                    "attention.key_length" => header.key_length = Some(number),
                    "embedding_length" => header.embedding_length = Some(number),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    if alignment == 0 || !alignment.is_power_of_two() || alignment > 1 << 20 {
        return Err(wrong("its alignment is impossible"));
    }

    let mut furthest = 0;
    for _ in 0..tensors {
        let name = input.name()?;
        let dimensions = input.u32()?;
        if !(1..=4).contains(&dimensions) {
            return Err(wrong("a tensor has an impossible number of dimensions"));
        }
        let mut elements = 1_u64;
        for _ in 0..dimensions {
            elements = elements
                .checked_mul(input.u64()?)
                .ok_or_else(|| wrong("a tensor is impossibly large"))?;
        }
        let kind = input.u32()?;
        let offset = input.u64()?;
        let bytes = tensor_bytes(kind, elements).ok_or_else(|| {
            wrong(&format!(
                "tensor {name:?} is of an unknown or impossible kind"
            ))
        })?;
        if offset % alignment != 0 {
            return Err(wrong(&format!("tensor {name:?} is not aligned")));
        }
        let end = offset
            .checked_add(bytes)
            .ok_or_else(|| wrong("a tensor lies at an impossible place"))?;
        furthest = furthest.max(end);
    }
    let data = input
        .position
        .checked_next_multiple_of(alignment)
        .ok_or_else(|| wrong("its header is impossibly long"))?;
    match data.checked_add(furthest) {
        Some(end) if end <= length => Ok(header),
        _ => Err(wrong("its weights reach beyond its end: it is incomplete")),
    }
}

/// Size of a tensor by ggml's table of types: elements per block and bytes per block.
fn tensor_bytes(kind: u32, elements: u64) -> Option<u64> {
    let (block, bytes) = match kind {
        0 | 26 => (1, 4),      // F32, I32
        1 | 25 | 30 => (1, 2), // F16, I16, BF16
        2 => (32, 18),         // Q4_0
        3 => (32, 20),         // Q4_1
        6 => (32, 22),         // Q5_0
        7 => (32, 24),         // Q5_1
        8 => (32, 34),         // Q8_0
        9 => (32, 36),         // Q8_1
        10 => (256, 84),       // Q2_K
        11 => (256, 110),      // Q3_K
        12 => (256, 144),      // Q4_K
        13 => (256, 176),      // Q5_K
        14 => (256, 210),      // Q6_K
        15 => (256, 292),      // Q8_K
        16 => (256, 66),       // IQ2_XXS
        17 => (256, 74),       // IQ2_XS
        18 => (256, 98),       // IQ3_XXS
        19 => (256, 50),       // IQ1_S
        20 => (32, 18),        // IQ4_NL
        21 => (256, 110),      // IQ3_S
        22 => (256, 82),       // IQ2_S
        23 => (256, 136),      // IQ4_XS
        24 => (1, 1),          // I8
        27 | 28 => (1, 8),     // I64, F64
        29 => (256, 56),       // IQ1_M
        34 => (256, 54),       // TQ1_0
        35 => (256, 66),       // TQ2_0
        39 => (32, 17),        // MXFP4
        _ => return None,
    };
    if elements % block != 0 {
        return None;
    }
    (elements / block).checked_mul(bytes)
}

enum Value {
    Number(u64),
    Text(String),
    Other,
}

struct Bounded<R> {
    input: R,
    position: u64,
    length: u64,
}

impl<R: Read + Seek> Bounded<R> {
    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        self.position += N as u64;
        Ok(bytes)
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> io::Result<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn count(&mut self) -> io::Result<u64> {
        let count = self.u64()?;
        if count > MAX_ENTRIES {
            return Err(wrong("it claims an impossible number of entries"));
        }
        Ok(count)
    }

    fn name(&mut self) -> io::Result<String> {
        let length = self.u64()?;
        if length > MAX_NAME_BYTES {
            return Err(wrong("a name in it is impossibly long"));
        }
        let mut bytes = vec![0; length as usize];
        self.input.read_exact(&mut bytes)?;
        self.position += length;
        String::from_utf8(bytes).map_err(|_| wrong("a name in it is not text"))
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let end = self
            .position
            .checked_add(bytes)
            .filter(|end| *end <= self.length)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        // Short hops stay inside the reader's buffer.
        match i64::try_from(bytes) {
            Ok(short) if short < 1 << 12 => {
                io::copy(&mut self.input.by_ref().take(bytes), &mut io::sink())?;
            }
            _ => {
                self.input.seek(SeekFrom::Start(end))?;
            }
        }
        self.position = end;
        Ok(())
    }

    fn value(&mut self, kind: u32, depth: u32) -> io::Result<Value> {
        match kind {
            0 => self.bytes::<1>().map(|[byte]| Value::Number(byte.into())),
            2 => self
                .bytes::<2>()
                .map(|bytes| Value::Number(u16::from_le_bytes(bytes).into())),
            4 => self.u32().map(|number| Value::Number(number.into())),
            10 => self.u64().map(Value::Number),
            5 => {
                let number = i32::from_le_bytes(self.bytes()?);
                Ok(u64::try_from(number).map_or(Value::Other, Value::Number))
            }
            1 | 7 => self.skip(1).map(|()| Value::Other),
            3 => self.skip(2).map(|()| Value::Other),
            6 => self.skip(4).map(|()| Value::Other),
            11 | 12 => self.skip(8).map(|()| Value::Other),
            8 => {
                let length = self.u64()?;
                if length > 256 {
                    // Templates and the like, which nothing here looks at.
                    return self.skip(length).map(|()| Value::Other);
                }
                let mut bytes = vec![0; length as usize];
                self.input.read_exact(&mut bytes)?;
                self.position += length;
                Ok(String::from_utf8(bytes).map_or(Value::Other, Value::Text))
            }
            9 if depth < MAX_ARRAY_DEPTH => {
                let kind = self.u32()?;
                let items = self.u64()?;
                let fixed = match kind {
                    0 | 1 | 7 => Some(1),
                    2 | 3 => Some(2),
                    4..=6 => Some(4),
                    10..=12 => Some(8),
                    _ => None,
                };
                match fixed {
                    Some(size) => self.skip(
                        items
                            .checked_mul(size)
                            .ok_or_else(|| wrong("an array in it is impossibly long"))?,
                    )?,
                    // Each item takes at least the bytes of its length, so this ends with the file.
                    None => {
                        for _ in 0..items {
                            if kind == 8 {
                                let length = self.u64()?;
                                self.skip(length)?;
                            } else {
                                self.value(kind, depth + 1)?;
                            }
                        }
                    }
                }
                Ok(Value::Other)
            }
            _ => Err(wrong("a value in it is of an unknown kind")),
        }
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A file of one tensor of 64 F32 elements and a few values.
    fn sample() -> Vec<u8> {
        let mut bytes = Vec::new();
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        bytes.extend(MAGIC);
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend(1_u64.to_le_bytes());
        bytes.extend(6_u64.to_le_bytes());
        text(&mut bytes, "general.architecture");
        bytes.extend(8_u32.to_le_bytes());
        text(&mut bytes, "qwen2");
        for (key, number) in [
            ("qwen2.context_length", 32768_u32),
            ("qwen2.block_count", 24),
            ("qwen2.attention.head_count", 14),
            ("qwen2.attention.head_count_kv", 2),
        ] {
            text(&mut bytes, key);
            bytes.extend(4_u32.to_le_bytes());
            bytes.extend(number.to_le_bytes());
        }
        text(&mut bytes, "tokenizer.ggml.tokens");
        bytes.extend(9_u32.to_le_bytes());
        bytes.extend(8_u32.to_le_bytes());
        bytes.extend(2_u64.to_le_bytes());
        text(&mut bytes, "ž");
        text(&mut bytes, &"x".repeat(5000));
        text(&mut bytes, "weights");
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(64_u64.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(32) + 256, 0);
        bytes
    }

    fn read(bytes: &[u8]) -> io::Result<Header> {
        read_header(Cursor::new(bytes), bytes.len() as u64)
    }

    #[test]
    fn a_whole_header_is_read() {
        let header = read(&sample()).unwrap();
        assert_eq!(header.architecture.as_deref(), Some("qwen2"));
        assert_eq!(header.train_context, Some(32768));
        let header = Header {
            embedding_length: Some(896),
            ..header
        };
        assert_eq!(header.context_bytes_per_token(), Some(24 * 2 * 64 * 4));
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = sample();
        for length in 0..whole.len() {
            assert!(
                read(&whole[..length]).is_err(),
                "{length} of {} bytes",
                whole.len()
            );
        }
    }

    #[test]
    fn no_flipped_byte_makes_it_panic_or_hang() {
        let whole = sample();
        let mut refused = 0;
        for at in 0..whole.len() - 256 {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                refused += u32::from(read(&bytes).is_err());
            }
        }
        assert!(
            refused > 200,
            "only {refused} of the damaged headers were noticed"
        );
    }

    #[test]
    fn forged_lengths_are_refused() {
        let mut tensors = sample();
        tensors[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(read(&tensors).is_err());
        let mut offset = sample();
        let at = offset.len() - 256 - 8 - 32..offset.len() - 256;
        let end = at.end;
        let zeros = offset[at]
            .iter()
            .rev()
            .take_while(|byte| **byte == 0)
            .count();
        assert!(
            zeros >= 8,
            "the sample's offset is where this test believes"
        );
        let header_end = end - zeros + 12;
        offset[header_end - 8..header_end].copy_from_slice(&(1_u64 << 40).to_le_bytes());
        assert!(read(&offset).is_err());
    }

    #[test]
    fn parts_of_a_split_model_are_found() {
        let parts = further_parts(Path::new("/m/big-00001-of-00003.gguf"));
        assert_eq!(
            parts,
            [
                PathBuf::from("/m/big-00002-of-00003.gguf"),
                PathBuf::from("/m/big-00003-of-00003.gguf")
            ]
        );
        for single in ["/m/a.gguf", "/m/a-00002-of-00003.gguf", "/m/-of-.gguf"] {
            assert!(further_parts(Path::new(single)).is_empty(), "{single}");
        }
    }
}
