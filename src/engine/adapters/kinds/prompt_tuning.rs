//! Prompt tuning (arXiv:2104.08691): embeddings put in front of the text's, (num_virtual_tokens, token_dim).
//! P-tuning too: its encoder is gone from the file, which holds what it gave.

use crate::error::Result;
use crate::format::peft::{Fields, Path, Written};

use super::virtual_tokens::VirtualTokens;
use super::{Kind, Role, Roles, find};
use crate::engine::adapters::adapter::Lead;
use crate::engine::adapters::base::Base;
use crate::engine::adapters::common::Common;

/// What only a prompt tuning config has.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptTuning {
    /// What it puts in front.
    pub tokens: VirtualTokens,
}

impl Kind for PromptTuning {
    const TYPES: &'static [&'static str] = &["PROMPT_TUNING", "P_TUNING"];
    const WITHOUT_EFFECT: &'static [&'static str] = &[
        "encoder_dropout",
        "encoder_hidden_size",
        "encoder_num_layers",
        "encoder_reparameterization_type",
        "num_attention_heads",
        "num_layers",
        "prompt_tuning_init",
        "prompt_tuning_init_text",
        "tokenizer_kwargs",
        "tokenizer_name_or_path",
    ];
    const ADAPTS: &'static [Role] = &[];

    fn read(fields: &mut Fields, _common: &mut Common) -> Result<Self> {
        Ok(Self { tokens: VirtualTokens::read(fields)? })
    }

    fn write(&self, _common: &Common, fields: &mut Written) {
        self.tokens.write(fields);
    }

    fn place<'a>(&self, name: Path<'a>) -> Option<(&'a str, Role)> {
        (name.whole() == "prompt_embeddings").then_some(("", "prompt_embeddings"))
    }

    fn lead(&self, base: &Base, shared: &mut Roles) -> Result<Option<Lead>> {
        let VirtualTokens { num_virtual_tokens, token_dim } = self.tokens;
        base.expect_field("token_dim", token_dim, base.model.config.hidden_size)?;
        let rows = find(shared, "prompt_embeddings", "")?;
        rows.expect(&[num_virtual_tokens, token_dim])?;
        Ok(Some(Lead::Prompt(rows.numbers)))
    }
}
