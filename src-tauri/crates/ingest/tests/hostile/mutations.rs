//! Mutations of good files: of their bytes, and, where a file is an archive, of what lies in it.

use std::io::{Cursor, Read as _};
use std::path::Path;

use docent_domain::Format;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::Hostile;
use crate::fixtures::zip;
use crate::seeds::seeds;

pub const SEED: u64 = 0x0D0C_FA17;

/// What parsers stumble over.
const SPECIAL: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\xff\xfe",
    b"\xfe\xff",
    b"\xef\xbb\xbf",
    b"\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe1\xbb\xa7",
    b"\xcc\x81",
    b"\xe2\x80\xa8",
    "👩\u{200d}👩\u{200d}👧".as_bytes(),
    "\u{fb01}İẞ".as_bytes(),
    b"\r\n\r\n",
    b"\r",
    b"\t",
    b"\x0c",
    b"\x1b[0m",
    b"<",
    b">",
    b"</",
    b"/>",
    b"&",
    b"&#0;",
    b"&#x110000;",
    b"&#xd800;",
    b"&nope;",
    b"<![CDATA[",
    b"]]>",
    b"<!--",
    b"<?xml",
    b"<!DOCTYPE x [<!ENTITY a 'b'>]>",
    b"\"",
    b"'",
    b"\"\"",
    b";",
    b",",
    b"|",
    b"::",
    b"```",
    b"~~~",
    b"- ",
    b"# ",
    b"> ",
    b"[^",
    b"{",
    b"[",
    b"\\u",
    b"\\ud800",
    b"=?utf-8?Q?=?=",
    b"=?x?B?!?=",
    b"--b",
    b"0 0 R",
    b"obj",
    b"endstream",
    b"<<",
    b"PK\x05\x06",
    b"PK\x01\x02",
    b"\xd0\xcf\x11\xe0",
];

const NUMBERS: &[&str] = &[
    "0",
    "-1",
    "00",
    "1e400",
    "-0",
    "NaN",
    "127",
    "256",
    "65535",
    "65536",
    "1048577",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "99999999999999999999999",
    "1.7976931348623157e308",
    "0x7f",
];

/// Writes `count` mutations for every format.
pub fn write_all(folder: &Path, count: usize) -> Vec<Hostile> {
    let seeds = seeds();
    let mut files = Vec::new();
    let mut done: Vec<Format> = Vec::new();
    for (format, _) in &seeds {
        if done.contains(format) {
            continue;
        }
        done.push(*format);
        let of_format: Vec<&[u8]> = seeds
            .iter()
            .filter(|(of, _)| of == format)
            .map(|(_, bytes)| bytes.as_slice())
            .collect();
        for number in 0..count {
            // Of each its own, so that one can be made again without the others.
            let mut rng = StdRng::seed_from_u64(SEED ^ (number as u64) << 8 ^ *format as u64);
            let seed = of_format[number % of_format.len()];
            let bytes = mutated(seed, &mut rng);
            let name = format!("{}-{number}", format.as_str());
            files.push(crate::write(folder, name, *format, &bytes));
        }
    }
    assert_eq!(done.len(), 17, "every format");
    files
}

fn mutated(seed: &[u8], rng: &mut StdRng) -> Vec<u8> {
    if seed.starts_with(b"PK") && rng.random_bool(0.7) {
        return mutated_archive(seed, rng);
    }
    let mut bytes = seed.to_vec();
    mutate(&mut bytes, rng);
    bytes
}

/// Mutates some of the parts and packs them anew, in another order or under other names.
fn mutated_archive(seed: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(Cursor::new(seed)).unwrap();
    let mut parts = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let name = entry.name().unwrap().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        parts.push((name, bytes));
    }
    for _ in 0..rng.random_range(1..3) {
        let at = rng.random_range(0..parts.len());
        match rng.random_range(0..10) {
            0 => {
                let other = rng.random_range(0..parts.len());
                let name = parts[at].0.clone();
                parts[at].0 = std::mem::replace(&mut parts[other].0, name);
            }
            1 if parts.len() > 1 => {
                parts.remove(at);
            }
            2 => {
                let mut again = parts[at].clone();
                again.0 = format!("{}~{}", again.0, parts.len());
                parts.push(again);
            }
            _ => mutate(&mut parts[at].1, rng),
        }
    }
    let parts: Vec<(&str, &[u8])> = parts
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    zip(&parts)
}

fn mutate(bytes: &mut Vec<u8>, rng: &mut StdRng) {
    for _ in 0..rng.random_range(1..8) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.random_range(0..bytes.len());
        let end = (at + rng.random_range(1..64)).min(bytes.len());
        match rng.random_range(0..11) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = rng.random(),
            2 => {
                bytes.drain(at..end);
            }
            3 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => {
                let copy = bytes[at..end].repeat(rng.random_range(2..200));
                let to = rng.random_range(0..bytes.len());
                bytes.splice(to..to, copy);
            }
            5 => {
                let special = SPECIAL[rng.random_range(0..SPECIAL.len())];
                bytes.splice(at..at, special.iter().copied());
            }
            6 => {
                let special = SPECIAL[rng.random_range(0..SPECIAL.len())];
                let until = (at + special.len()).min(bytes.len());
                bytes.splice(at..until, special.iter().copied());
            }
            7 => another_number(bytes, at, rng),
            8 => {
                // As lengths and offsets stand in binary files.
                let value = [0, 1, 0x7f, 0xff][rng.random_range(0..4)];
                let wide = [2, 4, 8][rng.random_range(0..3)];
                let until = (at + wide).min(bytes.len());
                bytes[at..until].fill(value);
            }
            9 => {
                let to = rng.random_range(0..bytes.len());
                bytes.swap(at, to);
            }
            _ => {
                if rng.random_bool(0.3) {
                    bytes.truncate(at);
                }
            }
        }
    }
}

/// Replaces the digits that come next.
fn another_number(bytes: &mut Vec<u8>, from: usize, rng: &mut StdRng) {
    let Some(start) = (from..bytes.len()).find(|at| bytes[*at].is_ascii_digit()) else {
        return;
    };
    let end = (start..bytes.len())
        .find(|at| !bytes[*at].is_ascii_digit())
        .unwrap_or(bytes.len());
    let number = NUMBERS[rng.random_range(0..NUMBERS.len())];
    bytes.splice(start..end, number.bytes());
}
