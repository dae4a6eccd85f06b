//! GPT-BigCode (StarCoder, SantaCoder): GPT-2 with linear maps stored (out, in), and one head of keys and values
//! for all queries, or one for each.

use super::{Family, gpt2};
use crate::error::Result;
use crate::model::blueprint::Blueprint;
use crate::model::fields::{Fields, Key};
use crate::model::roles::{Module, Role};

pub(super) const FAMILY: Family = Family {
    name: "GptBigCode",
    model_type: "gpt_bigcode",
    architecture: "starcoder",
    modules: &[
        Module::new(Role::Embedding, "wte", "token_embd"),
        Module::new(Role::Positions, "wpe", "position_embd"),
        Module::new(Role::AttentionNorm, "ln_1", "attn_norm"),
        Module::new(Role::Qkv, "attn.c_attn", "attn_qkv"),
        Module::new(Role::O, "attn.c_proj", "attn_output"),
        Module::new(Role::MlpNorm, "ln_2", "ffn_norm"),
        Module::new(Role::Up, "mlp.c_fc", "ffn_up"),
        Module::new(Role::Down, "mlp.c_proj", "ffn_down"),
        Module::new(Role::LastNorm, "ln_f", "output_norm"),
        Module::new(Role::Head, "lm_head", "output"),
    ],
    // what transformers' code does not look at
    harmless: &[
        "inference_runner",
        "max_batch_size",
        "num_key_value_heads",
        "pad_key_length",
        "pre_allocate_kv_cache",
        "runner_max_sequence_length",
        "scale_attention_softmax_in_fp32",
        "summary_activation",
        "summary_first_dropout",
        "summary_proj_to_labels",
        "summary_type",
        "summary_use_proj",
        "validate_runner_input",
    ],
    blueprint,
    ..gpt2::FAMILY
};

const MULTI_QUERY: Key = Key::new("multi_query", "");

/// Where each head of queries has its own of keys and values, checkpoints have them head by head. llama.cpp knows
/// the others alone.
fn blueprint(fields: &Fields) -> Result<Blueprint> {
    let heads = fields.needed(gpt2::HEADS)?;
    let multi_query = fields.flag(MULTI_QUERY)?.unwrap_or(true);
    let kv_heads = if multi_query { fields.count(gpt2::KV_HEADS)?.unwrap_or(1) } else { heads };
    let head_dim = fields.head_dim(gpt2::HEAD_DIM, gpt2::SIZES, None)?;
    Ok(Blueprint { family: &FAMILY, qkv_grouped: !multi_query, ..gpt2::of(fields, head_dim, kv_heads)? })
}
