//! From a GGUF LoRA file to an [`Adapter`]: llama.cpp's names and row orders undone.
//! What the file says is `format::gguf`'s, how names correspond `model`'s.

use crate::error::{Error, Result};
use crate::format::TensorInfo;
use crate::format::gguf::{LoraFile, LoraPair};
use crate::model::{GgufLinear, RowOrder, gguf_linear};

use crate::engine::adapters::Adapters;
use crate::engine::adapters::adapter::{Adapter, ModuleDelta};
use crate::engine::adapters::base::Base;
use crate::engine::adapters::loaded::AdapterInfo;
use crate::engine::adapters::turn::{restored, transpose};
use crate::engine::runner::Runner;

/// One pair and the linear map of the base, or its embedding, that it belongs to.
struct Placed<'a> {
    tensor: &'a str,
    pair: &'a LoraPair,
    linear: GgufLinear,
    /// (C_in, C_out)
    shape: [usize; 2],
}

impl Adapters {
    /// Loads a LoRA adapter that llama.cpp's `convert_lora_to_gguf.py` wrote as `name`; an
    /// adapter of that name is replaced. What the file cannot say is in the
    /// [`warnings`](AdapterInfo::warnings).
    ///
    /// Errors with `Format` for the file, `Unsupported` naming what is not implemented,
    /// `Mismatch` naming the architecture or tensor that does not fit this base, `Argument` for
    /// the name, `Memory`.
    pub(crate) async fn load_gguf(
        &mut self,
        runner: &mut Runner,
        name: &str,
        file: &[u8],
    ) -> Result<AdapterInfo> {
        let adapter = self.base(runner).gguf_adapter(file)?;
        self.add_reserved(runner, name, adapter, None).await
    }
}

impl Base<'_> {
    fn gguf_adapter(&self, file: &[u8]) -> Result<Adapter> {
        let lora = LoraFile::from_file_bytes(file)?;
        let family = self.model.config.family;
        let architecture = family.architecture;
        if lora.architecture != architecture {
            return Err(Error::mismatch(format!(
                "GGUF adapter: general.architecture is `{}`, this base is `{architecture}`",
                lora.architecture
            )));
        }
        let placed = lora.pairs.iter().map(|(tensor, pair)| self.placed(tensor, pair));
        let placed = placed.collect::<Result<Vec<_>>>()?;
        let mut warnings = lora.warnings();
        let swapped = are_swapped(&placed).unwrap_or_else(|| {
            warnings.push(
                "square maps only: lora_a and lora_b are taken to be exchanged, as llama.cpp's \
                           converter does with GPT-2's; if another tool wrote the file, this is wrong"
                    .to_owned(),
            );
            true
        });
        let deltas = placed.iter().map(|placed| self.delta(&lora, placed, swapped, file));
        let deltas = deltas.collect::<Result<_>>()?;
        Ok(Adapter { deltas, warnings, ..Adapter::default() })
    }

    fn placed<'a>(&self, tensor: &'a str, pair: &'a LoraPair) -> Result<Placed<'a>> {
        if tensor == "position_embd.weight" {
            return Err(Error::unsupported(format!(
                "tensor `{}`: LoRA on embeddings of positions is not supported",
                pair.a.name
            )));
        }
        let linear = if pair.looked_up {
            let module = self.model.weights.embedding();
            Some(GgufLinear { module, order: RowOrder::Same, turned: false })
        } else {
            gguf_linear(self.model.config.family, tensor)
        };
        let found = linear.and_then(|linear| Some((self.shape(&linear.module).ok()?, linear)));
        let (shape, mut linear) = found.ok_or_else(|| {
            Error::mismatch(format!("tensor `{}`: this base model has no such linear map", pair.a.name))
        })?;
        linear.module = self.model.weights.full_name(&linear.module);
        Ok(Placed { tensor, pair, linear, shape })
    }

    /// y += alpha/R · B (A x), B's rows in the checkpoint's order
    fn delta(&self, lora: &LoraFile, placed: &Placed, swapped: bool, file: &[u8]) -> Result<ModuleDelta> {
        let Placed { tensor, pair, linear, shape: [inputs, outputs] } = placed;
        let (rank, scale) = (pair.rank()?, lora.scale(pair)?);
        let (mut a, mut b) = (read(&pair.a, file)?, read(&pair.b, file)?);
        let mut got = [pair.a.shape[1], pair.b.shape[0]];
        if pair.looked_up {
            a = transpose(&a, rank);
            got[0] = pair.a.shape[0];
        }
        if swapped && linear.turned {
            // (A, B) of a turned map are (Bᵀ, Aᵀ).
            (a, b) = (transpose(&b, rank), transpose(&a, pair.a.shape[1]));
            got.reverse();
        }
        if got != [*inputs, *outputs] {
            return Err(Error::mismatch(format!(
                "tensors `{tensor}.lora_a` and `.lora_b`: a map {} -> {}, expected {inputs} -> {outputs}",
                got[0], got[1]
            )));
        }
        b = restored(&b, rank, linear.order, &self.model.config).unwrap_or(b);
        let module = linear.module.clone();
        Ok(ModuleDelta { module, rank, a: a.into(), b: b.into(), scale, ..ModuleDelta::default() })
    }
}

/// Whether the factors of turned maps stand in each other's place; `None` where all are square,
/// and shapes do not tell.
///
/// PEFT's factors of GPT-2's Conv1D are those of a (C_out, C_in) matrix; the converter turns the
/// pair as it turns the weight, which is wrong.
fn are_swapped(placed: &[Placed]) -> Option<bool> {
    let mut turned = placed.iter().filter(|placed| placed.linear.turned).peekable();
    if turned.peek().is_none() {
        return Some(false);
    }
    let mut telling = turned.filter(|placed| placed.shape[0] != placed.shape[1]);
    telling.next().map(|placed| placed.pair.a.shape.get(1) != Some(&placed.shape[0]))
}

fn read(info: &TensorInfo, file: &[u8]) -> Result<Vec<f32>> {
    let values = info.read_f32(info.bytes_in(file)?)?;
    match values.iter().find(|value| !value.is_finite()) {
        Some(bad) => Err(Error::format(format!("tensor `{}`: holds {bad}", info.name))),
        None => Ok(values),
    }
}
