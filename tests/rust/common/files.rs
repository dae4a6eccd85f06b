//! Safetensors files in the making, and how a file is refused.

use lorakeet::format::{TensorData, write};
use lorakeet::{Error, ErrorKind};
use std::collections::BTreeMap;

/// A file of this header and so many bytes of data.
pub(crate) fn file(header: &str, data_bytes: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + data_bytes, 0);
    file
}

#[track_caller]
pub(crate) fn assert_format_error<T: std::fmt::Debug>(result: Result<T, Error>, message: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Format, message));
}

pub(crate) fn written(tensors: &[(&str, &[usize], TensorData<'_>)]) -> Result<Vec<u8>, Error> {
    let tensors: Vec<_> = tensors.iter().map(|(n, s, d)| ((*n).to_owned(), s.to_vec(), *d)).collect();
    let metadata =
        BTreeMap::from([("format".to_owned(), "pt".to_owned()), ("by".to_owned(), "us".to_owned())]);
    write(&tensors, &metadata)
}
