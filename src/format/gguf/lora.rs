//! A LoRA adapter in a GGUF file, as llama.cpp's `convert_lora_to_gguf.py` writes it.
//! Not the arithmetic, nor the base's modules: names and row orders stay llama.cpp's.
//!
//! `general.type` is `adapter`, `adapter.type` is `lora`, `adapter.lora.alpha` the numerator of
//! the scale; of each tensor of the base that is adapted there are `{name}.lora_a` (R, C_in) and
//! `{name}.lora_b` (C_out, R). Of the embedding, whose rows are looked up, A is the other way
//! round, (V, R): see `build_inp_embd` of llama.cpp.

use super::{Header, LONG_ROPE_FACTORS, ROPE_FACTORS, SHORT_ROPE_FACTORS, Value, wrong};
use crate::error::{Error, Result};
use crate::format::TensorInfo;
use crate::order::sort_by_key;
use std::collections::BTreeMap;

const ALPHA_KEY: &str = "adapter.lora.alpha";
/// Keys of `adapter.` that change no number.
const WITHOUT_EFFECT: &[&str] = &["adapter.lora.task_name", "adapter.lora.prompt_prefix"];
/// Constants of the base that some converters write too; an adapter changes none of them.
const CONSTANTS: &[&str] = &[ROPE_FACTORS, LONG_ROPE_FACTORS, SHORT_ROPE_FACTORS];
/// The tensor whose pair is a looked up one.
const EMBEDDING: &str = "token_embd.weight";

/// A GGUF file that is a LoRA adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraFile {
    /// llama.cpp's name of the base's architecture.
    pub architecture: String,
    /// `general.name`
    pub(crate) name: Option<String>,
    /// `general.base_model.0.name`
    pub base_model: Option<String>,
    /// Numerator of the scale, whose denominator is the rank.
    pub alpha: f32,
    /// Each with the name of the base's tensor, by it: `blk.0.attn_q.weight`.
    pub pairs: Vec<(String, LoraPair)>,
    /// A text of the metadata that speaks of rsLoRA.
    rslora: Option<String>,
}

/// Both factors of one tensor of the base.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraPair {
    /// (R, C_in), or (V, R) of the embedding
    pub a: TensorInfo,
    /// (C_out, R)
    pub b: TensorInfo,
    /// Whether it is the embedding's.
    pub(crate) looked_up: bool,
}

impl LoraFile {
    /// Reads the header of a file that is at hand whole.
    ///
    /// Errors: `Format` where it is no GGUF file or no adapter, `Unsupported` naming the kind
    /// of adapter, the key or the tensor that is not read, `Mismatch` for a factor without the
    /// other.
    pub fn from_file_bytes(file: &[u8]) -> Result<Self> {
        let header = Header::from_file_bytes(file)?;
        let what = header.text("general.type")?;
        if what != "adapter" {
            return Err(Error::format(format!("GGUF file: general.type is `{what}`, expected `adapter`")));
        }
        let kind = header.text("adapter.type")?;
        if kind != "lora" {
            return Err(Error::unsupported(format!(
                "GGUF adapter: adapter.type is `{kind}`, expected `lora`"
            )));
        }
        let known = |key: &str| ["adapter.type", ALPHA_KEY].contains(&key) || WITHOUT_EFFECT.contains(&key);
        let mut keys = header.metadata.keys().filter(|key| key.starts_with("adapter."));
        if let Some(key) = keys.find(|key| !known(key)) {
            return Err(Error::unsupported(format!("GGUF adapter: metadata `{key}` is not supported")));
        }
        let alpha = header.get(ALPHA_KEY, "a number", Value::as_number)?;
        let alpha = alpha.ok_or_else(|| wrong(ALPHA_KEY, None, "a number"))? as f32;
        // To PEFT 0 is no adapter, to llama.cpp it is scale 1.
        if !alpha.is_finite() || alpha == 0.0 {
            return Err(Error::format(format!(
                "GGUF adapter: {ALPHA_KEY} is {alpha}, expected a finite number but 0"
            )));
        }
        let text = |key: &str| match header.metadata.get(key) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        };
        Ok(Self {
            architecture: header.text("general.architecture")?.to_owned(),
            name: text("general.name"),
            base_model: text("general.base_model.0.name"),
            alpha,
            rslora: rslora(&header),
            pairs: pairs(header.tensors)?,
        })
    }

    /// The scale of one pair: alpha / R.
    ///
    /// Errors with `Mismatch` unless both factors are matrices of one rank, above 0.
    pub fn scale(&self, pair: &LoraPair) -> Result<f32> {
        Ok(self.alpha / pair.rank()? as f32)
    }

    /// What the file cannot say, and the caller should know.
    ///
    /// The converter drops `use_rslora` and `alpha_pattern`. At rank 1 rsLoRA is plain LoRA;
    /// with one rank for all modules a pattern of alphas is unlikely.
    pub fn warnings(&self) -> Vec<String> {
        let mut ranks: Vec<usize> = self.pairs.iter().filter_map(|(_, pair)| pair.rank().ok()).collect();
        sort_by_key(&mut ranks, |rank| *rank);
        ranks.dedup();
        let mut warnings = Vec::new();
        if let Some(&rank) = ranks.last().filter(|&&rank| rank > 1) {
            let lost = match ranks.as_slice() {
                [rank] => format!("√{rank} = {:.3}, so that weight {0:.3} is right", (*rank as f64).sqrt()),
                _ => format!("the square root of each rank, up to √{rank}"),
            };
            let says = match &self.rslora {
                Some(text) => format!("its metadata says \"{text}\""),
                None => "its metadata cannot say whether it was rsLoRA".to_owned(),
            };
            warnings.push(format!(
                "scale alpha/rank: {says}; the conversion of an rsLoRA adapter to GGUF loses a factor of {lost}; \
                 the PEFT folder is exact"
            ));
        }
        if ranks.len() > 1 {
            warnings.push(format!(
                "one alpha, {}, for ranks {ranks:?}: an alpha_pattern would have been lost in the conversion to GGUF",
                self.alpha
            ));
        }
        warnings
    }
}

impl LoraPair {
    /// R
    ///
    /// Errors with `Mismatch` unless both factors are matrices of one rank, above 0.
    pub fn rank(&self) -> Result<usize> {
        let a = if self.looked_up { "(V, R)" } else { "(R, C_in)" };
        match (self.a.shape.as_slice(), self.b.shape.as_slice()) {
            (&[rank, _], &[_, columns]) if !self.looked_up && rank == columns && rank > 0 => Ok(rank),
            (&[_, rank], &[_, columns]) if self.looked_up && rank == columns && rank > 0 => Ok(rank),
            (got_a, got_b) => Err(Error::mismatch(format!(
                "tensors `{}` {got_a:?} and `{}` {got_b:?}: expected {a} and (C_out, R), R above 0",
                self.a.name, self.b.name
            ))),
        }
    }
}

fn pairs(tensors: Vec<TensorInfo>) -> Result<Vec<(String, LoraPair)>> {
    let (mut a, mut b) = (BTreeMap::new(), BTreeMap::new());
    for tensor in tensors {
        if let Some(base) = tensor.name.strip_suffix(".lora_a") {
            a.insert(base.to_owned(), tensor);
        } else if let Some(base) = tensor.name.strip_suffix(".lora_b") {
            b.insert(base.to_owned(), tensor);
        } else if !CONSTANTS.contains(&tensor.name.as_str()) {
            return Err(Error::unsupported(format!(
                "tensor `{}`: whole tensors in a GGUF adapter are not supported",
                tensor.name
            )));
        }
    }
    let alone = |base: &str, has: &str, lacks: &str| {
        Error::mismatch(format!("tensor `{base}.{has}`: the adapter has no {lacks} for it"))
    };
    let pair = |(base, a): (String, TensorInfo)| {
        let b = b.remove(&base).ok_or_else(|| alone(&base, "lora_a", "lora_b"))?;
        let looked_up = base == EMBEDDING;
        Ok((base, LoraPair { a, b, looked_up }))
    };
    let pairs = a.into_iter().map(pair).collect::<Result<Vec<_>>>()?;
    match b.keys().next() {
        Some(base) => Err(alone(base, "lora_b", "lora_a")),
        None if pairs.is_empty() => Err(Error::format("GGUF adapter: it has no tensors")),
        None => Ok(pairs),
    }
}

/// The first text of `general.` that has a word that begins with rsLoRA.
fn rslora(header: &Header) -> Option<String> {
    let says = |text: &str| {
        let lower = text.to_lowercase();
        let mut words = lower.split(|c: char| !c.is_alphanumeric());
        words.any(|word| word.starts_with("rslora"))
    };
    let texts = header.metadata.iter().filter(|(key, _)| key.starts_with("general."));
    let mut texts = texts.flat_map(|(_, value)| match value {
        Value::Text(text) => std::slice::from_ref(text),
        Value::Array(super::Array::Text(texts)) => texts.as_slice(),
        _ => &[],
    });
    texts.find(|text| says(text)).cloned()
}
