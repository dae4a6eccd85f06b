//! What the configs of more than one kind of adapter have.
//! Not a whole config.

use crate::error::Result;
use crate::format::peft::{Fields, Json, Selection, Written, wrong};

/// What more than one kind of adapter has.
#[derive(Clone, Debug, PartialEq)]
pub struct Common {
    /// Name or path of the model it was trained on, as the trainer wrote it.
    pub base_model_name_or_path: Option<String>,
    /// Which biases of the base come with the adapter.
    pub bias: Bias,
    /// Modules that come whole; see [`AdapterConfig::saves`].
    pub modules_to_save: Vec<String>,
    /// Whether the trainer took the base's linear weights for (in, out). PEFT corrects it by
    /// the layer's type, so that the adapter's own tensors are the same either way.
    pub fan_in_fan_out: bool,
    pub(crate) selection: Selection,
}

/// Which biases of the base were trained, and replace the base's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    /// `none`
    None,
    /// `lora_only`, `vera_only`: those of the targeted modules.
    Targets,
    /// `all`: every bias of the base.
    All,
}

impl Common {
    /// Of these modules, and nothing else.
    pub(super) fn of(selection: Selection) -> Self {
        Self {
            base_model_name_or_path: None,
            bias: Bias::None,
            modules_to_save: Vec::new(),
            fan_in_fan_out: false,
            selection,
        }
    }

    /// Takes `target_modules`; what `modules_to_save` names is kept from being adapted.
    pub(super) fn read_selection(&mut self, fields: &mut Fields) -> Result<()> {
        self.selection = Selection::read(fields, &self.modules_to_save)?;
        Ok(())
    }

    /// Takes `bias`, whose word for the targeted modules is `only`.
    pub(super) fn read_bias(&mut self, fields: &mut Fields, only: &str) -> Result<()> {
        self.bias = match fields.take("bias") {
            None => Bias::None,
            Some(Json::String(name)) if name == "none" => Bias::None,
            Some(Json::String(name)) if name == "all" => Bias::All,
            Some(Json::String(name)) if name == only => Bias::Targets,
            Some(other) => return Err(wrong("bias", &other, &format!("none, {only} or all"))),
        };
        Ok(())
    }

    /// Writes what an adapter of linear maps has.
    pub(super) fn write_maps(&self, fields: &mut Written) {
        fields.always("fan_in_fan_out", Json::Bool(self.fan_in_fan_out));
        fields.selection(&self.selection);
    }

    pub(super) fn write_bias(&self, fields: &mut Written, only: &str) {
        let word = match self.bias {
            Bias::None => "none",
            Bias::Targets => only,
            Bias::All => "all",
        };
        fields.always("bias", word.into());
    }
}
