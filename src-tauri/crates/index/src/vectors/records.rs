//! The records of the vector environment, byte by byte. Changing them breaks data: raise
//! [`LAYOUT`], and existing vectors are dropped and made again.
//!
//! Every record ends in a CRC-32 of what precedes it, because LMDB has none. Integers and floats
//! are little-endian.
//!
//! | database | key | value |
//! |---|---|---|
//! | `items` | arroy's | arroy's: the vectors, and the trees |
//! | `codes` | chunk key, u32 big-endian | language u8, has sparse u8, 0 u16, CRC-32 of the vector's bytes u32, then, once there is a centre: scale f32, shift f32, sign bits u64 … |
//! | `sparse` | chunk key, u32 big-endian | (token u32, weight f32) …, ascending by token |
//! | `meta` | `format` | JSON of [`Format`] |
//! | `meta` | `centre` | how many vectors it was taken of u64, mean f32 … |
//! | `meta` | `dropped` | roaring bitmap: removed keys that arroy's trees still hold |

use docent_domain::Language;
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use super::codes::{Centre, Code, Factors, ones, words};
use crate::languages::Languages;

pub(crate) const LAYOUT: u32 = 1;

pub(crate) const FORMAT: &str = "format";
pub(crate) const CENTRE: &str = "centre";
pub(crate) const DROPPED: &str = "dropped";

const HEAD: usize = 8;

/// What the stored vectors are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Format {
    pub layout: u32,
    pub fingerprint: String,
    pub dimensions: usize,
}

/// What is kept of a vector besides itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CodeRecord {
    pub language: Language,
    pub has_sparse: bool,
    pub vector_crc: u32,
    pub code: Option<Code>,
}

pub(crate) fn crc(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

pub(crate) fn vector_crc(vector: &[f32]) -> u32 {
    crc(bytemuck::cast_slice(vector))
}

fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// The content of a record whose checksum is right.
fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (content, sum) = bytes.split_last_chunk::<4>()?;
    (crc(content) == u32::from_le_bytes(*sum)).then_some(content)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let array = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*array))
}

fn floats(bytes: &[u8]) -> Option<Vec<f32>> {
    let (chunks, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| {
        chunks
            .iter()
            .map(|array| f32::from_le_bytes(*array))
            .collect()
    })
}

impl CodeRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + 12 + 8 * 32);
        bytes.extend_from_slice(&[
            Languages::stored(self.language),
            u8::from(self.has_sparse),
            0,
            0,
        ]);
        bytes.extend_from_slice(&self.vector_crc.to_le_bytes());
        if let Some(code) = &self.code {
            bytes.extend_from_slice(&code.factors.scale.to_le_bytes());
            bytes.extend_from_slice(&code.factors.shift.to_le_bytes());
            for word in &code.bits {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
        }
        seal(bytes)
    }

    /// The vector's checksum alone.
    pub fn decode_vector_crc(bytes: &[u8]) -> Option<u32> {
        u32_at(unseal(bytes)?, 4)
    }

    pub fn decode(bytes: &[u8], dimensions: usize) -> Option<Self> {
        let content = unseal(bytes)?;
        let &[language, has_sparse, 0, 0] = content.first_chunk::<4>()? else {
            return None;
        };
        let code = content.get(HEAD..)?;
        let code = if code.is_empty() {
            None
        } else {
            let (bits, rest) = code.get(8..)?.as_chunks::<8>();
            if bits.len() != words(dimensions) || !rest.is_empty() {
                return None;
            }
            let bits: Vec<u64> = bits
                .iter()
                .map(|array| u64::from_le_bytes(*array))
                .collect();
            Some(Code {
                factors: Factors {
                    scale: f32::from_bits(u32_at(code, 0)?),
                    shift: f32::from_bits(u32_at(code, 4)?),
                    ones: ones(&bits),
                },
                bits,
            })
        };
        Some(Self {
            language: Languages::restored(language)?,
            has_sparse: has_sparse != 0,
            vector_crc: u32_at(content, 4)?,
            code,
        })
    }
}

pub(crate) fn encode_sparse(weights: &[(u32, f32)]) -> Vec<u8> {
    let mut sorted = weights.to_vec();
    sorted.sort_by_key(|&(token, _)| token);
    let mut bytes = Vec::with_capacity(8 * sorted.len() + 4);
    for (token, weight) in sorted {
        bytes.extend_from_slice(&token.to_le_bytes());
        bytes.extend_from_slice(&weight.to_le_bytes());
    }
    seal(bytes)
}

pub(crate) fn decode_sparse(record: &[u8]) -> Option<Vec<(u32, f32)>> {
    let (pairs, rest) = unseal(record)?.as_chunks::<8>();
    rest.is_empty().then(|| {
        pairs
            .iter()
            .map(|&[a, b, c, d, weight @ ..]| {
                (u32::from_le_bytes([a, b, c, d]), f32::from_le_bytes(weight))
            })
            .collect()
    })
}

/// The sum over common tokens of the products of their weights. `question` ascends by token.
pub(crate) fn sparse_score(question: &[(u32, f32)], record: &[u8]) -> Option<f32> {
    let (pairs, rest) = unseal(record)?.as_chunks::<8>();
    if !rest.is_empty() {
        return None;
    }
    let mut score = 0.0;
    let mut question = question.iter().peekable();
    for pair in pairs {
        let [a, b, c, d, weight @ ..] = *pair;
        let token = u32::from_le_bytes([a, b, c, d]);
        while question.next_if(|&&(asked, _)| asked < token).is_some() {}
        while let Some((_, asked)) = question.next_if(|&&(asked, _)| asked == token) {
            score += asked * f32::from_le_bytes(weight);
        }
    }
    Some(score)
}

impl Format {
    pub fn encode(&self) -> Vec<u8> {
        seal(serde_json::to_vec(self).expect("BUG: two numbers and a string always serialise"))
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(unseal(bytes)?).ok()
    }
}

impl Centre {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.taken_at.to_le_bytes().to_vec();
        for value in &self.mean {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        seal(bytes)
    }

    pub fn decode(bytes: &[u8], dimensions: usize) -> Option<Self> {
        let (taken_at, mean) = unseal(bytes)?.split_first_chunk::<8>()?;
        let mean = floats(mean)?;
        (mean.len() == dimensions).then(|| Self {
            mean,
            taken_at: u64::from_le_bytes(*taken_at),
        })
    }
}

pub(crate) fn encode_keys(keys: &RoaringBitmap) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(keys.serialized_size() + 4);
    keys.serialize_into(&mut bytes)
        .expect("BUG: writing to memory cannot fail");
    seal(bytes)
}

pub(crate) fn decode_keys(bytes: &[u8]) -> Option<RoaringBitmap> {
    RoaringBitmap::deserialize_from(unseal(bytes)?).ok()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// Changing any of these breaks data; if one must change, raise `LAYOUT`.
    #[test]
    fn the_bytes_of_records_must_not_change() {
        assert_eq!(LAYOUT, 1);
        let record = CodeRecord {
            language: Language::Croatian,
            has_sparse: true,
            vector_crc: 0x0102_0304,
            code: Some(Code {
                factors: Factors {
                    scale: 0.5,
                    shift: -2.0,
                    ones: 2.0,
                },
                bits: vec![0x8000_0000_0000_0001],
            }),
        };
        assert_eq!(
            hex(&record.encode()),
            "01010000040302010000003f000000c001000000000000800f30826f"
        );
        assert_eq!(CodeRecord::decode(&record.encode(), 64), Some(record));

        let bare = CodeRecord {
            language: Language::Undetermined,
            has_sparse: false,
            vector_crc: 7,
            code: None,
        };
        assert_eq!(hex(&bare.encode()), "0000000007000000d0e7f5f8");
        assert_eq!(CodeRecord::decode(&bare.encode(), 64), Some(bare));

        assert_eq!(
            hex(&encode_sparse(&[(9, 1.0), (2, 0.5)])),
            "020000000000003f090000000000803f68cf3908"
        );
        let format = Format {
            layout: 1,
            fingerprint: "e5".into(),
            dimensions: 384,
        };
        assert_eq!(
            String::from_utf8_lossy(&format.encode()[..48]),
            r#"{"layout":1,"fingerprint":"e5","dimensions":384}"#
        );
        let centre = Centre {
            mean: vec![1.0, 0.0],
            taken_at: 4096,
        };
        assert_eq!(
            hex(&centre.encode()),
            "00100000000000000000803f0000000095ef1895"
        );
        assert_eq!(Centre::decode(&centre.encode(), 2), Some(centre));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_seen() {
        let record = encode_sparse(&[(1, 0.25), (4, 2.0)]);
        for bit in 0..record.len() * 8 {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(sparse_score(&[(1, 1.0)], &flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn sparse_scores_sum_over_common_tokens() {
        let record = encode_sparse(&[(7, 2.0), (1, 0.5), (3, 1.0)]);
        assert_eq!(
            sparse_score(&[(1, 4.0), (2, 9.0), (7, 0.25)], &record),
            Some(2.5)
        );
        assert_eq!(sparse_score(&[], &record), Some(0.0));
        assert_eq!(sparse_score(&[(1, 1.0)], &encode_sparse(&[])), Some(0.0));
    }
}
