//! Writes safetensors files: logits for a judge, adapters for export.
//! Not a stream: the file is built in memory, so it suits small ones.

use super::safetensors::{METADATA_KEY, PREFIX_BYTES};
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Elements to write, row-major.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are the format's own")]
pub enum TensorData<'a> {
    F32(&'a [f32]),
    U32(&'a [u32]),
}

impl TensorData<'_> {
    fn dtype(self) -> &'static str {
        match self {
            Self::F32(_) => "F32",
            Self::U32(_) => "U32",
        }
    }

    fn elements(self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::U32(values) => values.len(),
        }
    }

    fn append_to(self, file: &mut Vec<u8>) {
        match self {
            Self::F32(values) => file.extend(values.iter().flat_map(|v| v.to_le_bytes())),
            Self::U32(values) => file.extend(values.iter().flat_map(|v| v.to_le_bytes())),
        }
    }
}

/// A safetensors file of these tensors, in this order. The same input gives the same bytes.
///
/// `tensors`: name, shape, elements. Data start at a multiple of eight bytes.
/// Errors with `Argument` if a name repeats or is reserved, or a shape disagrees with its elements.
pub fn write(
    tensors: &[(String, Vec<usize>, TensorData<'_>)],
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>> {
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert(METADATA_KEY.to_owned(), json!(metadata));
    }
    let mut end: u64 = 0;
    for (name, shape, data) in tensors {
        let elements = shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
        if elements != Some(data.elements()) {
            return Err(Error::argument(format!(
                "tensor `{name}`: {} elements, expected as many as shape {shape:?} has",
                data.elements()
            )));
        }
        let start = end;
        end = start.saturating_add((data.elements() as u64).saturating_mul(4));
        let entry = json!({ "dtype": data.dtype(), "shape": shape, "data_offsets": [start, end] });
        if name == METADATA_KEY || header.insert(name.clone(), entry).is_some() {
            return Err(Error::argument(format!("tensor `{name}`: the name is taken")));
        }
    }

    let mut json = Value::Object(header).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(PREFIX_BYTES), b' ');
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend(json);
    file.reserve(usize::try_from(end).unwrap_or_default());
    for (_, _, data) in tensors {
        data.append_to(&mut file);
    }
    Ok(file)
}
