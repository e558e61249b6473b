//! The messages of the ONNX format that an exported network consists of, with the field numbers of `onnx.proto`
//! (ONNX IR version 8 and later). Written out, so that a build needs no protobuf compiler.

/// A model file.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Model {
    /// The version of the format.
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    /// The program that wrote it.
    #[prost(string, tag = "2")]
    pub producer_name: String,
    /// That program's version.
    #[prost(string, tag = "3")]
    pub producer_version: String,
    /// What it computes.
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    /// The versions of the operators.
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSet>,
    /// Text by key: our configuration.
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<Entry>,
}

/// A version of the operators of a domain, here always the default one.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OperatorSet {
    /// Empty: the default domain.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// The version.
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// A key with its text.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    /// The key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The text.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Nodes in the order of computation, constants, inputs and outputs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Graph {
    /// What is computed, each after what it depends on.
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<Node>,
    /// The graph's name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Weights and other constants.
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorData>,
    /// What is given.
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<Value>,
    /// What is asked for.
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<Value>,
}

/// One operation.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Node {
    /// Names of the operands, empty for one that is left out.
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    /// Names of the results.
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    /// Its own name.
    #[prost(string, tag = "3")]
    pub name: String,
    /// The operator.
    #[prost(string, tag = "4")]
    pub op_type: String,
    /// The operator's parameters.
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<Attribute>,
}

/// A parameter of an operator.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Attribute {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The value, where `type` is [`Attribute::FLOAT`].
    #[prost(float, tag = "2")]
    pub f: f32,
    /// The value, where `type` is [`Attribute::INT`].
    #[prost(int64, tag = "3")]
    pub i: i64,
    /// The value, where `type` is [`Attribute::STRING`].
    #[prost(bytes = "vec", tag = "4")]
    pub s: Vec<u8>,
    /// The values, where `type` is [`Attribute::INTS`].
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    /// Which of the fields holds the value.
    #[prost(int32, tag = "20")]
    pub r#type: i32,
}

impl Attribute {
    /// A number.
    pub const FLOAT: i32 = 1;
    /// A whole number.
    pub const INT: i32 = 2;
    /// A text.
    pub const STRING: i32 = 3;
    /// Whole numbers.
    pub const INTS: i32 = 7;
}

/// A constant.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorData {
    /// The shape.
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    /// [`FLOAT`] or [`INT64`].
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    /// Its name.
    #[prost(string, tag = "8")]
    pub name: String,
    /// The values, little-endian.
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
}

/// The element type f32.
pub const FLOAT: i32 = 1;
/// The element type i64.
pub const INT64: i32 = 7;

/// An input or an output.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Value {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its type.
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<Type>,
    /// What it means.
    #[prost(string, tag = "3")]
    pub doc_string: String,
}

/// The type of an input or an output: of those of ONNX, a tensor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Type {
    /// The tensor.
    #[prost(message, optional, tag = "1")]
    pub tensor_type: Option<TensorType>,
}

/// Element type and shape.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TensorType {
    /// [`FLOAT`].
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    /// The shape.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
}

/// The sides of a tensor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Shape {
    /// One after the other.
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

/// A side: a number, or a name where it may be any.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Dimension {
    /// Which of the two.
    #[prost(oneof = "Side", tags = "1, 2")]
    pub value: Option<Side>,
}

/// A number or a name.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Side {
    /// The number.
    #[prost(int64, tag = "1")]
    Fixed(i64),
    /// The name.
    #[prost(string, tag = "2")]
    Named(String),
}
