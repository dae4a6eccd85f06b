//! llama.cpp's names for the tensors of a checkpoint, both ways, and the rows it stores otherwise.
//! Not a reader of GGUF files.

use crate::config::Family;

use super::weights::{Names, bare};

/// A tensor that llama.cpp stores under a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufTensor {
    /// Checkpoint name, without the base model's prefix.
    pub name: String,
    /// Whether the two halves of each head's rows are interleaved: of D rows, row 2i + j is the
    /// checkpoint's row j·D/2 + i. llama.cpp rotates neighbours where a checkpoint rotates
    /// halves.
    pub interleaved: bool,
}

/// A linear map that llama.cpp stores under a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufLinear {
    /// Checkpoint name, without the base model's prefix.
    pub module: String,
    /// As [`GgufTensor::interleaved`].
    pub interleaved: bool,
    /// Whether the checkpoint stores (C_in, C_out), which llama.cpp turns round.
    pub turned: bool,
}

/// `general.architecture` of this family; Mistral is `llama`.
pub fn gguf_architecture(family: Family) -> &'static str {
    match family {
        Family::Llama => "llama",
        Family::Qwen2 => "qwen2",
        Family::Gpt2 => "gpt2",
    }
}

/// The tensor that llama.cpp calls `tensor`: `blk.0.attn_q.weight`; `None` if there is none.
pub fn checkpoint_tensor(family: Family, tensor: &str) -> Option<GgufTensor> {
    let (path, end) = tensor.rsplit_once('.')?;
    let names = Names::of(family);
    let find = |stems: Vec<Stems>, stem| stems.into_iter().find(|(gguf, _)| *gguf == stem);
    let (module, stem) = match path.strip_prefix("blk.") {
        Some(path) => {
            let (layer, stem) = path.split_once('.')?;
            let (_, module) = find(layer_stems(&names), stem)?;
            (format!("{}.{layer}.{module}", names.layer), stem)
        }
        None => (find(outer_stems(&names), path)?.1.to_owned(), path),
    };
    let interleaved = family == Family::Llama && matches!(stem, "attn_q" | "attn_k");
    Some(GgufTensor { name: format!("{module}.{end}"), interleaved })
}

/// What llama.cpp calls tensor `name` of a checkpoint; `None` if it has no name for it.
pub fn gguf_name(family: Family, name: &str) -> Option<String> {
    let (path, end) = bare(name).rsplit_once('.')?;
    let names = Names::of(family);
    let find = |stems: Vec<Stems>, module| stems.into_iter().find(|(_, checkpoint)| *checkpoint == module);
    let in_layer = path.strip_prefix(names.layer).and_then(|path| path.strip_prefix('.'));
    match in_layer.and_then(|path| path.split_once('.')) {
        Some((layer, module)) => {
            let (stem, _) = find(layer_stems(&names), module)?;
            Some(format!("blk.{layer}.{stem}.{end}"))
        }
        None => Some(format!("{}.{end}", find(outer_stems(&names), path)?.0)),
    }
}

/// The linear map whose weight llama.cpp calls `tensor`: `blk.0.attn_q.weight`; `None` if it is
/// not one.
pub fn gguf_linear(family: Family, tensor: &str) -> Option<GgufLinear> {
    let outer = !tensor.starts_with("blk.") && tensor != "output.weight";
    if outer || tensor.ends_with("_norm.weight") {
        return None;
    }
    let GgufTensor { name, interleaved } = checkpoint_tensor(family, tensor)?;
    let module = name.strip_suffix(".weight")?.to_owned();
    let turned = family == Family::Gpt2 && module != "lm_head";
    Some(GgufLinear { module, interleaved, turned })
}

/// One module: llama.cpp's name and the checkpoint's.
type Stems = (&'static str, &'static str);

/// The modules of a layer.
fn layer_stems(names: &Names) -> Vec<Stems> {
    let q_k_v: &[&str] = if names.q_k_v.len() == 1 { &["attn_qkv"] } else { &["attn_q", "attn_k", "attn_v"] };
    let up: &[&str] = if names.up.len() == 1 { &["ffn_up"] } else { &["ffn_gate", "ffn_up"] };
    let mut stems = vec![
        ("attn_norm", names.attention_norm),
        ("attn_output", names.o),
        ("ffn_norm", names.mlp_norm),
        ("ffn_down", names.down),
    ];
    stems.extend(q_k_v.iter().copied().zip(names.q_k_v.iter().copied()));
    stems.extend(up.iter().copied().zip(names.up.iter().copied()));
    stems
}

/// The modules outside of layers.
fn outer_stems(names: &Names) -> Vec<Stems> {
    vec![
        ("token_embd", names.embed.trim_end_matches(".weight")),
        ("position_embd", "wpe"),
        ("output_norm", names.norm),
        ("output", "lm_head"),
    ]
}
