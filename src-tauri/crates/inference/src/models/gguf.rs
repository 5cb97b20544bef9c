//! A look at a GGUF file's header, before llama.cpp sees it.
//!
//! Loaders have had memory errors in exactly these fields. Everything the header claims is held
//! against the file's length: strings, arrays, and that every tensor lies inside the file. Nothing
//! is allocated on the header's word.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::error::Error;

const MAGIC: [u8; 4] = *b"GGUF";

/// More than any real model has; keeps a hostile header from being walked for hours.
const MAX_KEYS: u64 = 100_000;
const MAX_TENSORS: u64 = 200_000;
const MAX_KEY_BYTES: u64 = 65_535;
const MAX_NESTING: u32 = 2;

/// What the header says of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub architecture: String,
    pub name: Option<String>,
    /// 0 when the header does not say.
    pub context_tokens: u32,
    /// Memory that one token of context takes: keys and values of every layer in 16-bit floats.
    /// `None` when the header does not say enough.
    pub context_bytes_per_token: Option<u64>,
    pub tensors: u64,
}

/// What the memory of a context is computed from.
#[derive(Default)]
struct Shape {
    layers: Option<u64>,
    heads: Option<u64>,
    key_value_heads: Option<u64>,
    width: Option<u64>,
    head_width: Option<u64>,
}

impl Shape {
    fn context_bytes_per_token(&self) -> Option<u64> {
        let heads = self.heads.filter(|heads| *heads > 0)?;
        let head_width = self.head_width.or_else(|| Some(self.width? / heads))?;
        let values = self
            .layers?
            .checked_mul(self.key_value_heads.unwrap_or(heads))?;
        values.checked_mul(head_width)?.checked_mul(2 * 2)
    }
}

/// Checks a file's header. Reads the header alone, not the weights.
pub fn check(path: &Path) -> Result<Summary, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let length = file.metadata().map_err(Error::io("look at", path))?.len();
    let mut reader = Header {
        reader: BufReader::new(file),
        position: 0,
        length,
    };
    reader.check().map_err(|problem| Error::Gguf {
        path: path.to_owned(),
        problem,
    })
}

struct Header<R> {
    reader: R,
    position: u64,
    length: u64,
}

type Check<T> = Result<T, String>;

impl<R: Read + Seek> Header<R> {
    fn check(&mut self) -> Check<Summary> {
        if self.bytes::<4>()? != MAGIC {
            return Err("it does not begin with GGUF".to_owned());
        }
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            return Err(format!("it has version {version}, known are 2 and 3"));
        }
        let tensors = self.u64()?;
        let keys = self.u64()?;
        if tensors == 0 || tensors > MAX_TENSORS || keys > MAX_KEYS {
            return Err(format!("it claims {tensors} tensors and {keys} keys"));
        }
        let mut architecture = None;
        let mut name = None;
        let mut context_tokens = 0;
        let mut shape = Shape::default();
        let mut alignment = 32;
        for _ in 0..keys {
            let key = self.string(MAX_KEY_BYTES)?;
            let kind = self.u32()?;
            match (key.as_str(), kind) {
                ("general.architecture", STRING) => architecture = Some(self.string(256)?),
                ("general.name", STRING) => name = Some(self.string(4096)?),
                ("general.alignment", UINT32) => alignment = u64::from(self.u32()?),
                (key, UINT32) => {
                    let number = self.u32()?;
                    let known = Some(u64::from(number));
                    match key.split_once('.').map_or(key, |(_, field)| field) {
                        "context_length" => context_tokens = number,
                        "block_count" => shape.layers = known,
                        "embedding_length" => shape.width = known,
                        "attention.head_count" => shape.heads = known,
                        "attention.head_count_kv" => shape.key_value_heads = known,
                        "attention.key_length" => shape.head_width = known,
                        _ => {}
                    }
                }
                _ => self.skip_value(kind, 0)?,
            }
        }
        if !alignment.is_power_of_two() || alignment > 1 << 20 {
            return Err(format!("its alignment is {alignment}"));
        }
        let mut furthest = 0_u64;
        for _ in 0..tensors {
            let tensor = self.string(1024)?;
            let outside = || format!("the tensor {tensor:?} lies outside of the file");
            let dimensions = self.u32()?;
            if !(1..=4).contains(&dimensions) {
                return Err(format!("the tensor {tensor:?} has {dimensions} dimensions"));
            }
            let mut elements = 1_u64;
            for _ in 0..dimensions {
                elements = elements.checked_mul(self.u64()?).ok_or_else(outside)?;
            }
            let kind = self.u32()?;
            let (block, block_bytes) = tensor_type(kind)
                .ok_or_else(|| format!("the tensor {tensor:?} is of the unknown type {kind}"))?;
            if !elements.is_multiple_of(block) {
                return Err(format!("the tensor {tensor:?} is not made of whole blocks"));
            }
            let bytes = (elements / block)
                .checked_mul(block_bytes)
                .ok_or_else(outside)?;
            let offset = self.u64()?;
            if !offset.is_multiple_of(alignment) {
                return Err(format!("the tensor {tensor:?} is not aligned"));
            }
            furthest = furthest.max(offset.checked_add(bytes).ok_or_else(outside)?);
        }
        let data = self.position.next_multiple_of(alignment);
        if data
            .checked_add(furthest)
            .is_none_or(|end| end > self.length)
        {
            return Err("it is shorter than its header says; it may be cut off".to_owned());
        }
        Ok(Summary {
            architecture: architecture.ok_or("it does not say its architecture")?,
            name,
            context_tokens,
            context_bytes_per_token: shape.context_bytes_per_token(),
            tensors,
        })
    }

    fn bytes<const N: usize>(&mut self) -> Check<[u8; N]> {
        let mut bytes = [0; N];
        self.claim(N as u64)?;
        self.reader
            .read_exact(&mut bytes)
            .map_err(|error| unreadable(&error))?;
        Ok(bytes)
    }

    fn u32(&mut self) -> Check<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Check<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn string(&mut self, at_most: u64) -> Check<String> {
        let length = self.u64()?;
        if length > at_most {
            return Err(format!("a name in it claims {length} bytes"));
        }
        self.claim(length)?;
        let mut bytes = vec![0; length as usize];
        self.reader
            .read_exact(&mut bytes)
            .map_err(|error| unreadable(&error))?;
        String::from_utf8(bytes).map_err(|_| "a name in it is not UTF-8".to_owned())
    }

    /// Counts bytes that must still be in the file.
    fn claim(&mut self, bytes: u64) -> Check<()> {
        self.position = self
            .position
            .checked_add(bytes)
            .filter(|end| *end <= self.length)
            .ok_or("its header ends beyond the file; it may be cut off")?;
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Check<()> {
        self.claim(bytes)?;
        self.reader
            .seek(SeekFrom::Start(self.position))
            .map_err(|error| unreadable(&error))?;
        Ok(())
    }

    fn skip_value(&mut self, kind: u32, nesting: u32) -> Check<()> {
        if let Some(size) = scalar_size(kind) {
            return self.skip(size);
        }
        match kind {
            STRING => {
                let length = self.u64()?;
                self.skip_short(length)
            }
            ARRAY if nesting < MAX_NESTING => {
                let element = self.u32()?;
                let count = self.u64()?;
                if let Some(size) = scalar_size(element) {
                    let bytes = count.checked_mul(size).ok_or("an array in it has no end")?;
                    return self.skip(bytes);
                }
                // Each element takes at least the eight bytes of its length.
                if count > self.length / 8 {
                    return Err("an array in it has no end".to_owned());
                }
                for _ in 0..count {
                    self.skip_value(element, nesting + 1)?;
                }
                Ok(())
            }
            other => Err(format!("a value in it is of the unknown type {other}")),
        }
    }

    /// Vocabularies are 150,000 short strings: read over them, because seeking empties the buffer.
    fn skip_short(&mut self, mut bytes: u64) -> Check<()> {
        self.claim(bytes)?;
        let mut sink = [0; 512];
        while bytes > 0 {
            let count = bytes.min(sink.len() as u64) as usize;
            self.reader
                .read_exact(&mut sink[..count])
                .map_err(|error| unreadable(&error))?;
            bytes -= count as u64;
        }
        Ok(())
    }
}

fn unreadable(error: &io::Error) -> String {
    format!("it cannot be read: {error}")
}

const UINT32: u32 = 4;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

const fn scalar_size(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// Elements and bytes of a block, by ggml's type number.
const fn tensor_type(kind: u32) -> Option<(u64, u64)> {
    Some(match kind {
        0 | 26 => (1, 4),
        1 | 25 | 30 => (1, 2),
        24 => (1, 1),
        27 | 28 => (1, 8),
        2 | 20 => (32, 18),
        3 => (32, 20),
        6 => (32, 22),
        7 => (32, 24),
        8 => (32, 34),
        9 => (32, 36),
        10 => (256, 84),
        11 | 21 => (256, 110),
        12 => (256, 144),
        13 => (256, 176),
        14 => (256, 210),
        15 => (256, 292),
        16 | 35 => (256, 66),
        17 => (256, 74),
        18 => (256, 98),
        19 => (256, 50),
        22 => (256, 82),
        23 => (256, 136),
        29 => (256, 56),
        34 => (256, 54),
        39 => (32, 17),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn string(text: &str) -> Vec<u8> {
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text.as_bytes());
        bytes
    }

    /// A header with one key, one array of strings and one tensor of 64 f32.
    fn tiny() -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend(1_u64.to_le_bytes());
        file.extend(2_u64.to_le_bytes());
        file.extend(string("general.architecture"));
        file.extend(STRING.to_le_bytes());
        file.extend(string("llama"));
        file.extend(string("tokenizer.ggml.tokens"));
        file.extend(ARRAY.to_le_bytes());
        file.extend(STRING.to_le_bytes());
        file.extend(2_u64.to_le_bytes());
        file.extend(string("a"));
        file.extend(string("b"));
        file.extend(string("t"));
        file.extend(1_u32.to_le_bytes());
        file.extend(64_u64.to_le_bytes());
        file.extend(0_u32.to_le_bytes());
        file.extend(0_u64.to_le_bytes());
        file.resize(file.len().next_multiple_of(32) + 256, 0);
        file
    }

    fn check_bytes(bytes: &[u8]) -> Check<Summary> {
        Header {
            reader: Cursor::new(bytes),
            position: 0,
            length: bytes.len() as u64,
        }
        .check()
    }

    #[test]
    fn reads_a_header_and_refuses_it_cut_anywhere() {
        let file = tiny();
        let summary = check_bytes(&file).expect("the control");
        assert_eq!(
            (summary.architecture.as_str(), summary.tensors),
            ("llama", 1)
        );
        for length in 0..file.len() {
            assert!(
                check_bytes(&file[..length]).is_err(),
                "cut at {length} bytes"
            );
        }
    }

    #[test]
    fn the_memory_of_a_context_is_known() {
        // Qwen2.5-7B: 56 KiB a token.
        let shape = Shape {
            layers: Some(28),
            heads: Some(28),
            key_value_heads: Some(4),
            width: Some(3584),
            head_width: None,
        };
        assert_eq!(shape.context_bytes_per_token(), Some(57_344));
        assert_eq!(
            Shape {
                heads: Some(0),
                ..shape
            }
            .context_bytes_per_token(),
            None
        );
    }

    /// Not that every mutation is refused, but that none makes the check panic, allocate on the
    /// header's word or run for long.
    #[test]
    fn survives_mutations() {
        let file = tiny();
        let mut state = 1_u64;
        for _ in 0..5_000 {
            let mut mutated = file.clone();
            for _ in 0..3 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let at = (state >> 33) as usize % 200.min(mutated.len());
                mutated[at] = (state >> 20) as u8;
            }
            let _ = check_bytes(&mutated);
        }
    }
}
