//! The names in `adapter_model.safetensors`, of today's PEFT and of older ones.
//! Not a check that the base has such a module, or that all tensors are there.

use super::{AdapterConfig, Bias, Method};
use crate::error::{Error, Result};

/// One tensor's place: which module of the base, and which part of its adaptation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// As the base names it: `model.layers.0.self_attn.q_proj`. Empty for what belongs to the
    /// whole model.
    pub module: String,
    /// What the tensor is to it.
    pub role: Role,
}

/// What a tensor is to its module. Linear maps (C_in) -> (C_out), tables (V, C).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// LoRA, (R, C_in).
    LoraA,
    /// LoRA, (C_out, R).
    LoraB,
    /// LoRA with `lora_bias`, (C_out).
    LoraBBias,
    /// LoRA on an embedding, (R, V).
    EmbeddingA,
    /// LoRA on an embedding, (C, R).
    EmbeddingB,
    /// DoRA, (C_out).
    Magnitude,
    /// LoRA-XS: what stands between A and B, (R, R).
    LatentMapping,
    /// A bias that replaces the base's.
    BaseBias,
    /// A parameter (`weight` or `bias`) that replaces the base's.
    Saved(String),
    /// Rows of an embedding that replace the base's, (rows, C).
    TokenDelta,
    /// (IA)³, (1, C_in) for feed-forward modules, (C_out, 1) for others.
    Ia3,
    /// VeRA's λ_b, (C_out).
    VeraLambdaB,
    /// VeRA's λ_d, (R).
    VeraLambdaD,
    /// VeRA's A for all modules, (R, largest C_in).
    VeraA,
    /// VeRA's B for all modules, (largest C_out, R).
    VeraB,
    /// Prompt tuning, (num_virtual_tokens, token_dim).
    PromptEmbeddings,
    /// Prefix tuning, (num_virtual_tokens, num_layers · 2 · token_dim).
    PrefixEmbeddings,
    /// What PEFT writes and does not use: under `bias: all`, two more copies
    /// (`modules_to_save.bias`, `original_module.bias`) of the bias of a module in
    /// `modules_to_save`, which stands in the file under its own name too.
    Unused(String),
}

/// PEFT's name for the adapter while it is in memory; some files keep it.
const ADAPTER: &str = "default";
/// Ends of modules whose weight PEFT saves, unasked, where the vocabulary was resized.
const EMBEDDINGS: &[&str] = &["embed_tokens", "lm_head", "wte"];

/// What training puts around a module, and leaves in its name: `torch.compile`, data parallelism,
/// activation checkpointing, FSDP.
const WRAPPERS: &[&str] = &["_orig_mod", "module", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"];

/// A tensor's name without the wrappers in it.
pub fn unwrapped(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').filter(|part| !WRAPPERS.contains(part)).collect();
    parts.join(".")
}

/// The place of the tensor `name` of an adapter with this config, whatever wrappers its name has.
///
/// Errors with `Mismatch` for a name that has none: nothing in a file is skipped.
pub fn part_of(name: &str, config: &AdapterConfig) -> Result<Part> {
    let unwrapped = unwrapped(name);
    // What transformers injects without a `PeftModel` around it has no prefix.
    let bare = unwrapped.strip_prefix("base_model.model.").unwrap_or(&unwrapped);
    let placed = of_model(bare, config).or_else(|| of_module(bare, config));
    placed.ok_or_else(|| {
        Error::mismatch(format!(
            "tensor `{name}`: adapter_config.json (peft_type {}) has no place for it",
            config.method.peft_type()
        ))
    })
}

/// A tensor that belongs to the whole model.
fn of_model(bare: &str, config: &AdapterConfig) -> Option<Part> {
    let unnamed = bare.strip_suffix(ADAPTER).and_then(|front| front.strip_suffix('.')).unwrap_or(bare);
    let in_file = config.projection_prng_key.is_none();
    let role = match (&config.method, unnamed) {
        (Method::PromptTuning { .. }, "prompt_embeddings") => Role::PromptEmbeddings,
        (Method::PrefixTuning { .. }, "prompt_embeddings") => Role::PrefixEmbeddings,
        (Method::Vera { .. }, "base_model.vera_A") if in_file => Role::VeraA,
        (Method::Vera { .. }, "base_model.vera_B") if in_file => Role::VeraB,
        _ => return None,
    };
    Some(Part { module: String::new(), role })
}

/// A tensor that belongs to one module.
fn of_module(bare: &str, config: &AdapterConfig) -> Option<Part> {
    let path = Path::of(bare);
    let (module, role) = match &config.method {
        Method::Lora(lora) => path
            .strip("lora_A", "weight", Role::LoraA)
            .or_else(|| path.strip("lora_B", "weight", Role::LoraB))
            .or_else(|| path.strip("lora_B", "bias", Role::LoraBBias).filter(|_| lora.lora_bias))
            .or_else(|| path.strip("lora_embedding_A", "", Role::EmbeddingA))
            .or_else(|| path.strip("lora_embedding_B", "", Role::EmbeddingB))
            .or_else(|| path.magnitude().filter(|_| lora.use_dora))
            .or_else(|| path.latent_mapping())
            .or_else(|| path.token_delta().filter(|_| !lora.trainable_token_indices.is_empty())),
        Method::Ia3(_) => path.strip("ia3_l", "", Role::Ia3),
        Method::Vera { .. } => path
            .strip("vera_lambda_b", "", Role::VeraLambdaB)
            .or_else(|| path.strip("vera_lambda_d", "", Role::VeraLambdaD)),
        Method::PromptTuning { .. } | Method::PrefixTuning { .. } => None,
    }
    .or_else(|| path.of_base(config))?;
    (!module.is_empty()).then(|| Part { module: module.to_owned(), role })
}

/// A tensor's name without its last word, and that word.
struct Path<'a> {
    bare: &'a str,
    front: &'a str,
    last: &'a str,
}

impl<'a> Path<'a> {
    fn of(bare: &'a str) -> Self {
        let (front, last) = bare.rsplit_once('.').unwrap_or(("", bare));
        Self { bare, front, last }
    }

    /// The module of `{module}.{word}[.default][.{parameter}]`.
    fn strip(&self, word: &str, parameter: &str, role: Role) -> Option<(&'a str, Role)> {
        let front = if parameter.is_empty() {
            self.bare
        } else if self.last == parameter {
            self.front
        } else {
            return None;
        };
        let front = before(front, ADAPTER).unwrap_or(front);
        before(front, word).map(|module| (module, role))
    }

    /// DoRA's vector was a parameter, then a layer's weight, and is saved as a parameter.
    fn magnitude(&self) -> Option<(&'a str, Role)> {
        let word = "lora_magnitude_vector";
        self.strip(word, "", Role::Magnitude).or_else(|| self.strip(word, "weight", Role::Magnitude))
    }

    /// LoRA-XS calls it `default_lora_latent_mapping`, of which older PEFTs cut `.default`.
    fn latent_mapping(&self) -> Option<(&'a str, Role)> {
        let (front, role) = (Some(self.front).filter(|_| self.last == "weight")?, Role::LatentMapping);
        before(front, "default_lora_latent_mapping")
            .or_else(|| front.strip_suffix("_lora_latent_mapping"))
            .map(|module| (module, role))
    }

    fn token_delta(&self) -> Option<(&'a str, Role)> {
        let (front, role) = self.strip("trainable_tokens_delta", "", Role::TokenDelta)?;
        before(front, "token_adapter").map(|module| (module, role))
    }

    /// A parameter that replaces the base's.
    fn of_base(&self, config: &AdapterConfig) -> Option<(&'a str, Role)> {
        let last = Some(self.last).filter(|last| matches!(*last, "weight" | "bias"))?;
        let saved = Role::Saved(last.to_owned());
        // As it lies in memory: only some ways of saving leave the wrapper in the name.
        let wrapped = before(self.front, ADAPTER).unwrap_or(self.front);
        for wrapper in ["modules_to_save", "original_module"] {
            let Some(module) = before(wrapped, wrapper).filter(|module| config.saves(module)) else {
                continue;
            };
            if last == "bias" && config.bias == Bias::All {
                return Some((module, Role::Unused(format!("{wrapper}.{last}"))));
            }
            return (wrapper == "modules_to_save").then_some((module, saved));
        }
        if config.saves(self.front) {
            return Some((self.front, saved));
        }
        // The layer an adapter wraps; older PEFTs wrapped none.
        let inner = before(self.front, "base_layer");
        if last == "bias" {
            return (config.bias != Bias::None).then_some((inner.unwrap_or(self.front), Role::BaseBias));
        }
        match inner {
            Some(module) => Some((before(module, "token_adapter").unwrap_or(module), saved)),
            None => {
                let name = self.front.rsplit('.').next().unwrap_or_default();
                EMBEDDINGS.contains(&name).then_some((self.front, saved))
            }
        }
    }
}

/// What stands before `.{word}` at the end of a path.
fn before<'a>(path: &'a str, word: &str) -> Option<&'a str> {
    path.strip_suffix(word)?.strip_suffix('.')
}
