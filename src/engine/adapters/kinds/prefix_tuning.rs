//! Prefix tuning (arXiv:2101.00190): keys and values put in front of every layer's,
//! (num_virtual_tokens, num_layers · 2 · token_dim): [key; value] of each layer in turn.

use crate::error::{Error, Result};
use crate::format::peft::{Fields, MAX_SIZE, Path, Written};

use super::virtual_tokens::VirtualTokens;
use super::{Kind, Role, Roles, find};
use crate::engine::adapters::adapter::Lead;
use crate::engine::adapters::base::Base;
use crate::engine::adapters::common::Common;

/// Most layers accepted.
const MAX_LAYERS: usize = 1024;

/// What only a prefix tuning config has.
#[derive(Clone, Debug, PartialEq)]
pub struct PrefixTuning {
    /// What it puts in front.
    pub tokens: VirtualTokens,
    /// `L`
    pub num_layers: usize,
    /// `K`
    pub num_attention_heads: usize,
}

impl Kind for PrefixTuning {
    const TYPES: &'static [&'static str] = &["PREFIX_TUNING"];
    // The file holds what the projection gave: `get_prompt_embedding_to_save`.
    const WITHOUT_EFFECT: &'static [&'static str] = &["encoder_hidden_size", "init_weights", "prefix_projection"];
    const ADAPTS: &'static [Role] = &[];

    fn read(fields: &mut Fields, _common: &mut Common) -> Result<Self> {
        let tokens = VirtualTokens::read(fields)?;
        let num_layers = fields.size("num_layers", None, MAX_LAYERS)?;
        let num_attention_heads = fields.size("num_attention_heads", None, MAX_SIZE)?;
        if tokens.token_dim % num_attention_heads != 0 {
            return Err(Error::format(format!(
                "adapter_config.json: token_dim {} is no multiple of num_attention_heads {num_attention_heads}",
                tokens.token_dim
            )));
        }
        Ok(Self { tokens, num_layers, num_attention_heads })
    }

    fn write(&self, _common: &Common, fields: &mut Written) {
        self.tokens.write(fields);
        fields.always("num_layers", self.num_layers.into());
        fields.always("num_attention_heads", self.num_attention_heads.into());
    }

    fn place<'a>(&self, name: Path<'a>) -> Option<(&'a str, Role)> {
        (name.whole() == "prompt_embeddings").then_some(("", "prompt_embeddings"))
    }

    fn lead(&self, base: &Base, shared: &mut Roles) -> Result<Option<Lead>> {
        let (VirtualTokens { num_virtual_tokens, token_dim }, config) = (self.tokens, &base.model.config);
        base.expect_field("num_layers", self.num_layers, config.layers.len())?;
        base.expect_field("token_dim", token_dim, config.num_key_value_heads * config.head_dim)?;
        let rows = find(shared, "prompt_embeddings", "")?;
        rows.expect(&[num_virtual_tokens, 2 * self.num_layers * token_dim])?;
        Ok(Some(Lead::Prefix(rows.numbers)))
    }
}
