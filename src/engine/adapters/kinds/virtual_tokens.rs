//! The fields that prompt and prefix tuning share.
//! Not a kind of adapter.

use crate::error::{Error, Result};
use crate::format::peft::{Fields, MAX_SIZE, Written, in_range};

/// How many tokens come before a text, and how wide each is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtualTokens {
    /// Rows.
    pub num_virtual_tokens: usize,
    /// `C` of a prompt, `K · D` of a prefix
    pub token_dim: usize,
}

impl VirtualTokens {
    pub(super) fn read(fields: &mut Fields) -> Result<Self> {
        let num_virtual_tokens = fields.size("num_virtual_tokens", None, MAX_SIZE)?;
        let token_dim = fields.size("token_dim", None, MAX_SIZE)?;
        // PEFT makes 1 of null where a decoder is adapted.
        let submodules = match fields.take("num_transformer_submodules") {
            Some(value) => in_range("num_transformer_submodules", &value, 1..=MAX_SIZE)?,
            None => 1,
        };
        if submodules != 1 {
            return Err(Error::unsupported(format!(
                "adapter_config.json: field `num_transformer_submodules` is {submodules}, expected 1: a decoder"
            )));
        }
        Ok(Self { num_virtual_tokens, token_dim })
    }

    pub(super) fn write(&self, fields: &mut Written) {
        fields.always("num_virtual_tokens", self.num_virtual_tokens.into());
        fields.always("token_dim", self.token_dim.into());
        fields.always("num_transformer_submodules", 1.into());
    }
}
