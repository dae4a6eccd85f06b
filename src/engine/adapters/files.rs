//! The two files of a PEFT folder, and a LoRA's factors as such.
//! Not which adapters there are to write.

use crate::error::Result;
use crate::format::{TensorData, write};

/// The files of a PEFT folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterFiles {
    /// `adapter_config.json`
    pub config: Vec<u8>,
    /// `adapter_model.safetensors`
    pub weights: Vec<u8>,
}

/// A and B of one module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factors<'a> {
    /// The module's checkpoint name.
    pub(crate) module: &'a str,
    /// `R`
    pub(crate) rank: usize,
    /// (R, C)
    pub(crate) a: &'a [f32],
    /// (F, R)
    pub(crate) b: &'a [f32],
    /// Whether it is the embedding, whose factors PEFT names otherwise.
    pub(crate) embedding: bool,
}

impl AdapterFiles {
    /// A LoRA's files, its tensors in the order given and named as PEFT names them.
    ///
    /// Errors with `Argument` for a module named twice.
    pub(crate) fn lora<'a>(config: String, modules: impl IntoIterator<Item = Factors<'a>>) -> Result<Self> {
        let mut tensors = Vec::new();
        for Factors { module, rank, a, b, embedding } in modules {
            let [inputs, outputs] = [a.len(), b.len()].map(|len| len / rank);
            let name = |factor: &str| {
                let end = if embedding { format!("embedding_{factor}") } else { format!("{factor}.weight") };
                format!("base_model.model.{module}.lora_{end}")
            };
            tensors.push((name("A"), vec![rank, inputs], TensorData::F32(a)));
            tensors.push((name("B"), vec![outputs, rank], TensorData::F32(b)));
        }
        let weights = write(&tensors, &[("format".to_owned(), "pt".to_owned())].into())?;
        Ok(Self { config: config.into_bytes(), weights })
    }
}
