//! llama.cpp's names for the linear maps of a checkpoint, and the rows it stores otherwise.
//! Not a reader of GGUF files.

use crate::config::Family;

use super::weights::Names;

/// A linear map that llama.cpp stores under a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufLinear {
    /// Checkpoint name, without the base model's prefix.
    pub module: String,
    /// Whether the two halves of each head's rows are interleaved: of D rows, row 2i + j is the
    /// checkpoint's row j·D/2 + i. llama.cpp rotates neighbours where a checkpoint rotates
    /// halves.
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

/// The linear map whose weight llama.cpp calls `tensor`: `blk.0.attn_q.weight`; `None` if it is
/// not one.
pub fn gguf_linear(family: Family, tensor: &str) -> Option<GgufLinear> {
    let path = tensor.strip_suffix(".weight")?;
    if path == "output" {
        return Some(GgufLinear { module: "lm_head".to_owned(), interleaved: false, turned: false });
    }
    let (layer, stem) = path.strip_prefix("blk.")?.split_once('.')?;
    let names = Names::of(family);
    let module = match (stem, names.q_k_v, names.up) {
        ("attn_q", [q, _, _], _) => q,
        ("attn_k", [_, k, _], _) => k,
        ("attn_v", [_, _, v], _) => v,
        ("attn_qkv", [qkv], _) => qkv,
        ("ffn_gate", _, [gate, _]) => gate,
        ("ffn_up", _, [.., up]) => up,
        ("attn_output", ..) => names.o,
        ("ffn_down", ..) => names.down,
        _ => return None,
    };
    Some(GgufLinear {
        module: format!("{}.{layer}.{module}", names.layer),
        interleaved: family == Family::Llama && matches!(stem, "attn_q" | "attn_k"),
        turned: family == Family::Gpt2,
    })
}
