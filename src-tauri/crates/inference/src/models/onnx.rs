//! The part of ONNX that Docent writes and checks: messages, and the refusal of external data.
//!
//! The messages are declared by hand, with the field numbers of `onnx.proto`, because only a few of
//! them are needed and no protobuf compiler is wanted. The check walks a file of any size without
//! reading its weights into memory.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use prost::Message;

use super::error::Error;

/// Values of `TensorProto.DataType`.
pub const FLOAT: i32 = 1;
pub const UINT8: i32 = 2;
pub const INT64: i32 = 7;
pub const INT4: i32 = 22;

/// Values of `AttributeProto.AttributeType`.
const ATTRIBUTE_FLOAT: i32 = 1;
const ATTRIBUTE_INT: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub struct Model {
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    #[prost(string, tag = "2")]
    pub producer_name: String,
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSet>,
}

#[derive(Clone, PartialEq, Message)]
pub struct OperatorSet {
    #[prost(string, tag = "1")]
    pub domain: String,
    #[prost(int64, tag = "2")]
    pub version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<Node>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Node {
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub domain: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(float, tag = "2")]
    pub f: f32,
    #[prost(int64, tag = "3")]
    pub i: i64,
    #[prost(int32, tag = "20")]
    pub kind: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[prost(string, tag = "8")]
    pub name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
    #[prost(message, repeated, tag = "13")]
    pub external_data: Vec<StringEntry>,
    /// 1 = in another file.
    #[prost(int32, tag = "14")]
    pub data_location: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct StringEntry {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct ValueInfo {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub kind: Option<Type>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Type {
    #[prost(message, optional, tag = "1")]
    pub tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TensorType {
    #[prost(int32, tag = "1")]
    pub element: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Dimension {
    #[prost(oneof = "Extent", tags = "1, 2")]
    pub extent: Option<Extent>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Extent {
    #[prost(int64, tag = "1")]
    Fixed(i64),
    /// A name for an extent that the caller chooses.
    #[prost(string, tag = "2")]
    Free(String),
}

impl Model {
    /// A model of operator set 21, with ONNX Runtime's own operators at hand.
    #[must_use]
    pub fn new(graph: Graph) -> Self {
        Self {
            // The first with 4-bit integers.
            ir_version: 10,
            producer_name: "docent".to_owned(),
            graph: Some(graph),
            opset_import: vec![
                OperatorSet {
                    domain: String::new(),
                    version: 21,
                },
                OperatorSet {
                    domain: MICROSOFT.to_owned(),
                    version: 1,
                },
            ],
        }
    }
}

pub const MICROSOFT: &str = "com.microsoft";

impl Node {
    /// A node of ONNX's own domain; an empty name among the inputs stands for one that is left out.
    #[must_use]
    pub fn new(op_type: &str, inputs: &[&str], outputs: &[&str]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            input: owned(inputs),
            output: owned(outputs),
            name: outputs.first().copied().unwrap_or_default().to_owned(),
            op_type: op_type.to_owned(),
            attribute: Vec::new(),
            domain: String::new(),
        }
    }

    #[must_use]
    pub fn microsoft(mut self) -> Self {
        MICROSOFT.clone_into(&mut self.domain);
        self
    }

    #[must_use]
    pub fn int(mut self, name: &str, value: i64) -> Self {
        self.attribute.push(Attribute {
            name: name.to_owned(),
            f: 0.0,
            i: value,
            kind: ATTRIBUTE_INT,
        });
        self
    }

    #[must_use]
    pub fn float(mut self, name: &str, value: f32) -> Self {
        self.attribute.push(Attribute {
            name: name.to_owned(),
            f: value,
            i: 0,
            kind: ATTRIBUTE_FLOAT,
        });
        self
    }
}

impl Tensor {
    #[must_use]
    pub fn new(name: &str, data_type: i32, dims: &[i64], raw_data: Vec<u8>) -> Self {
        Self {
            dims: dims.to_vec(),
            data_type,
            name: name.to_owned(),
            raw_data,
            external_data: Vec::new(),
            data_location: 0,
        }
    }

    #[must_use]
    pub fn floats(name: &str, dims: &[i64], values: &[f32]) -> Self {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        Self::new(name, FLOAT, dims, bytes)
    }

    #[must_use]
    pub fn ints(name: &str, dims: &[i64], values: &[i64]) -> Self {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        Self::new(name, INT64, dims, bytes)
    }
}

impl ValueInfo {
    #[must_use]
    pub fn new(name: &str, element: i32, extents: Vec<Extent>) -> Self {
        let dim = extents
            .into_iter()
            .map(|extent| Dimension {
                extent: Some(extent),
            })
            .collect();
        Self {
            name: name.to_owned(),
            kind: Some(Type {
                tensor: Some(TensorType {
                    element,
                    shape: Some(Shape { dim }),
                }),
            }),
        }
    }
}

/// Refuses a model whose weights lie in files other than `allowed`, which are plain names beside
/// it: a graph could otherwise make the runtime read any file there is.
pub fn check_external_data(path: &Path, allowed: &[&str]) -> Result<(), Error> {
    let refuse = |problem: String| Error::Onnx {
        path: path.to_owned(),
        problem,
    };
    let file = File::open(path).map_err(Error::io("open", path))?;
    let length = file.metadata().map_err(Error::io("look at", path))?.len();
    let mut walk = Walk {
        reader: BufReader::with_capacity(1 << 16, file),
        position: 0,
        allowed,
    };
    walk.message(Kind::Model, length, 0).map_err(refuse)
}

/// The messages that can hold a tensor, however deep.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Model,
    Function,
    Graph,
    Node,
    Attribute,
    SparseTensor,
    Training,
    Tensor,
    Entry,
}

/// Sub-graphs of sub-graphs; real models have two or three.
const MAX_DEPTH: u32 = 64;

const MAX_LOCATION_BYTES: u64 = 4096;

impl Kind {
    /// What a length-delimited field of the message holds, where it matters.
    const fn child(self, field: u64) -> Option<Self> {
        match (self, field) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) | (Self::Training, 1 | 2) => {
                Some(Self::Graph)
            }
            (Self::Model, 25) => Some(Self::Function),
            (Self::Function, 7) | (Self::Graph, 1) => Some(Self::Node),
            (Self::Function, 11) | (Self::Node, 5) => Some(Self::Attribute),
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::SparseTensor, 1 | 2) => {
                Some(Self::Tensor)
            }
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Some(Self::SparseTensor),
            // Training information holds graphs of its own.
            (Self::Model, 20) => Some(Self::Training),
            (Self::Tensor, 13) => Some(Self::Entry),
            _ => None,
        }
    }
}

struct Walk<'a, R> {
    reader: R,
    position: u64,
    allowed: &'a [&'a str],
}

impl<R: Read + Seek> Walk<'_, R> {
    fn message(&mut self, kind: Kind, end: u64, depth: u32) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("its graphs are nested too deeply".to_owned());
        }
        let mut key = String::new();
        let mut value = String::new();
        while self.position < end {
            let tag = self.varint(end)?;
            let (field, wire) = (tag >> 3, tag & 7);
            match wire {
                0 => {
                    self.varint(end)?;
                }
                1 => self.skip(8, end)?,
                5 => self.skip(4, end)?,
                2 => {
                    let length = self.varint(end)?;
                    let inner = self
                        .position
                        .checked_add(length)
                        .filter(|inner| *inner <= end)
                        .ok_or("a field reaches beyond its message; it may be cut off")?;
                    if let Some(child) = kind.child(field) {
                        self.message(child, inner, depth + 1)?;
                    } else if kind == Kind::Entry && matches!(field, 1 | 2) {
                        let text = self.text(length)?;
                        *(if field == 1 { &mut key } else { &mut value }) = text;
                    } else {
                        self.skip(length, end)?;
                    }
                }
                _ => return Err("it is not a protobuf message".to_owned()),
            }
        }
        if kind == Kind::Entry && key == "location" && !self.allowed.contains(&value.as_str()) {
            return Err(format!("it wants to read the file {value:?}"));
        }
        Ok(())
    }

    fn varint(&mut self, end: u64) -> Result<u64, String> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            if self.position >= end {
                return Err("it ends within a number; it may be cut off".to_owned());
            }
            let mut byte = [0];
            self.reader
                .read_exact(&mut byte)
                .map_err(|error| format!("it cannot be read: {error}"))?;
            self.position += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number in it has no end".to_owned())
    }

    fn skip(&mut self, bytes: u64, end: u64) -> Result<(), String> {
        let target = self
            .position
            .checked_add(bytes)
            .filter(|target| *target <= end)
            .ok_or("a field reaches beyond its message; it may be cut off")?;
        // A seek throws the buffer away, so short fields are read over.
        let unreadable = |error: std::io::Error| format!("it cannot be read: {error}");
        if bytes <= 256 {
            let mut sink = [0; 256];
            self.reader
                .read_exact(&mut sink[..bytes as usize])
                .map_err(unreadable)?;
        } else {
            self.reader
                .seek(SeekFrom::Start(target))
                .map_err(unreadable)?;
        }
        self.position = target;
        Ok(())
    }

    fn text(&mut self, length: u64) -> Result<String, String> {
        if length > MAX_LOCATION_BYTES {
            return Err("the name of a file in it is too long".to_owned());
        }
        let mut bytes = vec![0; length as usize];
        self.reader
            .read_exact(&mut bytes)
            .map_err(|error| format!("it cannot be read: {error}"))?;
        self.position += length;
        String::from_utf8(bytes).map_err(|_| "the name of a file in it is not UTF-8".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn check(model: &Model, allowed: &[&str]) -> Result<(), Error> {
        let mut file = tempfile::NamedTempFile::new().expect("temp file");
        file.write_all(&model.encode_to_vec()).expect("write");
        check_external_data(file.path(), allowed)
    }

    fn with_weights_in(location: &str) -> Model {
        let mut weights = Tensor::floats("w", &[1], &[1.0]);
        weights.data_location = 1;
        weights.external_data = vec![StringEntry {
            key: "location".to_owned(),
            value: location.to_owned(),
        }];
        Model::new(Graph {
            node: vec![Node::new("Identity", &["w"], &["y"]).int("k", 1)],
            name: "g".to_owned(),
            initializer: vec![Tensor::floats("v", &[300], &[0.0; 300]), weights],
            input: Vec::new(),
            output: vec![ValueInfo::new("y", FLOAT, vec![Extent::Fixed(1)])],
        })
    }

    #[test]
    fn weights_in_a_file_that_is_not_the_models_own_are_refused() {
        check(&with_weights_in("model.onnx.data"), &["model.onnx.data"]).expect("the control");
        for location in ["/etc/passwd", "../model.onnx.data", "other.data", ""] {
            let error = check(&with_weights_in(location), &["model.onnx.data"])
                .expect_err(location)
                .to_string();
            assert!(error.contains("wants to read"), "{error}");
        }
    }

    #[test]
    fn a_model_that_is_cut_off_is_refused() {
        let whole = with_weights_in("w").encode_to_vec();
        let mut file = tempfile::NamedTempFile::new().expect("temp file");
        file.write_all(&whole[..whole.len() - 20]).expect("write");
        assert!(check_external_data(file.path(), &["w"]).is_err());
    }
}
