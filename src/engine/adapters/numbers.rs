//! The numbers of an adapter: f32 of its own, or a tensor of its file, widened when it is asked for.
//! So the file that an export returns is the one place on the host where its tensors are.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::TensorInfo;

use crate::engine::adapters::files::AdapterFiles;

/// Numbers of an adapter, row-major.
#[derive(Clone)]
pub struct Numbers(Source);

#[derive(Clone)]
enum Source {
    Own(Vec<f32>),
    File(Arc<AdapterFiles>, Box<TensorInfo>),
}

impl Numbers {
    /// A tensor of a folder's weights.
    ///
    /// Errors with `Format` where the file is too short or holds what is not finite, `Mismatch` for a
    /// type that is not read.
    pub(crate) fn of_file(files: &Arc<AdapterFiles>, info: &TensorInfo) -> Result<Self> {
        let numbers = Self(Source::File(files.clone(), Box::new(info.clone())));
        if let Some(bad) = numbers.read()?.iter().find(|value| !value.is_finite()) {
            return Err(Error::format(format!("tensor `{}`: holds {bad}", info.name)));
        }
        Ok(numbers)
    }

    fn read(&self) -> Result<Vec<f32>> {
        match &self.0 {
            Source::Own(values) => Ok(values.clone()),
            Source::File(files, info) => info.read_f32(info.bytes_in(&files.weights)?),
        }
    }

    /// All of them as f32.
    pub fn values(&self) -> Vec<f32> {
        self.read().expect("they were read when the adapter was loaded")
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Source::Own(values) => values.len(),
            Source::File(_, info) => info.shape.iter().product(),
        }
    }

    /// The folder whose file they are in.
    pub(crate) fn file(&self) -> Option<&Arc<AdapterFiles>> {
        match &self.0 {
            Source::Own(_) => None,
            Source::File(files, _) => Some(files),
        }
    }

    /// Bytes that they take beside a file that is kept.
    pub(crate) fn own_bytes(&self) -> usize {
        match &self.0 {
            Source::Own(values) => 4 * values.len(),
            Source::File(..) => 0,
        }
    }
}

impl Default for Numbers {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl From<Vec<f32>> for Numbers {
    fn from(values: Vec<f32>) -> Self {
        Self(Source::Own(values))
    }
}

impl PartialEq for Numbers {
    fn eq(&self, other: &Self) -> bool {
        self.values() == other.values()
    }
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} numbers", self.len())
    }
}
