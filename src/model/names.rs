//! What the modules of a checkpoint do, and what they are called there and by llama.cpp.
//! Not the names themselves, which each family has in a table; no reader of files.

use super::families::{self, Family};

/// What a module does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Embedding,
    Positions,
    /// Of an encoder: added to the embedding, by the part of the text that a token is in.
    TokenTypes,
    /// Behind the embedding.
    EmbeddingNorm,
    LastNorm,
    Head,
    AttentionNorm,
    /// q, k and v in one.
    Qkv,
    Q,
    K,
    V,
    QNorm,
    KNorm,
    O,
    /// Behind attention, before it joins the residual stream.
    AttentionPostNorm,
    MlpNorm,
    Gate,
    Up,
    /// Gate and up in one.
    GateUp,
    Down,
    /// Behind the feed-forward block.
    MlpPostNorm,
}

impl Role {
    /// Whether each layer has one.
    fn in_layers(self) -> bool {
        !matches!(
            self,
            Self::Embedding
                | Self::Positions
                | Self::TokenTypes
                | Self::EmbeddingNorm
                | Self::LastNorm
                | Self::Head
        )
    }

    /// Whether it is a linear map; a table that is only looked up is none.
    fn is_linear(self) -> bool {
        use Role::{Down, Gate, GateUp, Head, K, O, Q, Qkv, Up, V};
        matches!(self, Head | Qkv | Q | K | V | O | Gate | GateUp | Up | Down)
    }
}

/// In which order llama.cpp has the rows of a linear map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowOrder {
    /// As checkpoints have them.
    Same,
    /// The two halves of each head's rows are interleaved: of D rows, row 2i + j is the checkpoint's row
    /// j·D/2 + i. llama.cpp rotates neighbours where a checkpoint rotates halves.
    Interleaved,
    /// Those of all q, then k, then v, which a checkpoint has head by head.
    ByPart,
}

/// One module of a family.
#[derive(Debug)]
pub(crate) struct Module {
    role: Role,
    /// Within its layer, or without the base model's prefix.
    checkpoint: &'static str,
    gguf: &'static str,
    /// Whether checkpoints store its weight (in, out), as Conv1D does; llama.cpp turns it round.
    turned: bool,
    order: RowOrder,
}

impl Module {
    pub(crate) const fn new(role: Role, checkpoint: &'static str, gguf: &'static str) -> Self {
        Self { role, checkpoint, gguf, turned: false, order: RowOrder::Same }
    }

    /// What checkpoints call it in layer `l`, or the one there is, without the base model's prefix.
    pub(crate) fn path(&self, family: &Family, l: usize) -> String {
        let Self { role, checkpoint, .. } = self;
        if role.in_layers() { format!("{}.{l}.{checkpoint}", family.layer) } else { (*checkpoint).to_owned() }
    }

    /// Stored (in, out) in checkpoints.
    pub(crate) const fn turned(self) -> Self {
        Self { turned: true, ..self }
    }

    /// Stored by llama.cpp with the halves of each head's rows interleaved.
    pub(crate) const fn interleaved(self) -> Self {
        Self { order: RowOrder::Interleaved, ..self }
    }

    /// Stored by llama.cpp as all q, then k, then v.
    pub(crate) const fn by_part(self) -> Self {
        Self { order: RowOrder::ByPart, ..self }
    }
}

/// A tensor that llama.cpp stores under a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GgufTensor {
    /// Checkpoint name, without the base model's prefix.
    pub(crate) name: String,
    pub(crate) order: RowOrder,
}

/// A linear map that llama.cpp stores under a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GgufLinear {
    /// Checkpoint name, without the base model's prefix.
    pub(crate) module: String,
    pub(crate) order: RowOrder,
    /// Whether the checkpoint stores (C_in, C_out), which llama.cpp turns round.
    pub(crate) turned: bool,
}

impl Family {
    /// Whether its checkpoints have such a module.
    pub(super) fn has(&self, role: Role) -> bool {
        self.modules.iter().any(|module| module.role == role)
    }

    /// See [`Module::path`].
    pub(super) fn module(&self, role: Role, l: usize) -> String {
        self.find(role).path(self, l)
    }

    /// Whether checkpoints store its weight (in, out).
    pub(super) fn turns(&self, role: Role) -> bool {
        self.find(role).turned
    }

    fn find(&self, role: Role) -> &Module {
        let module = self.modules.iter().find(|module| module.role == role);
        module.unwrap_or_else(|| panic!("{} has no {role:?}", self.name))
    }

    /// A module's path as checkpoints write it, from its path in a GGUF file; with what is special of it.
    fn of_gguf(&self, path: &str) -> Option<(String, &Module)> {
        let (layer, stem) = match path.strip_prefix("blk.") {
            Some(path) => path.split_once('.').map(|(layer, stem)| (Some(layer), stem))?,
            None => (None, path),
        };
        let module = |module: &&Module| module.gguf == stem && module.role.in_layers() == layer.is_some();
        let module = self.modules.iter().find(module)?;
        let path = match layer {
            Some(layer) => format!("{}.{layer}.{}", self.layer, module.checkpoint),
            None => module.checkpoint.to_owned(),
        };
        Some((path, module))
    }
}

/// The tensor that llama.cpp calls `tensor`: `blk.0.attn_q.weight`; `None` if there is none.
pub(crate) fn checkpoint_tensor(family: &Family, tensor: &str) -> Option<GgufTensor> {
    let (path, end) = tensor.rsplit_once('.')?;
    let (path, module) = family.of_gguf(path)?;
    Some(GgufTensor { name: format!("{path}.{end}"), order: module.order })
}

/// What llama.cpp calls tensor `name` of a checkpoint; `None` if it has no name for it.
pub(crate) fn gguf_name(family: &Family, name: &str) -> Option<String> {
    let (path, end) = bare(name).rsplit_once('.')?;
    let in_layer = path.strip_prefix(family.layer).and_then(|path| path.strip_prefix('.'));
    let (layer, stem) = match in_layer.and_then(|path| path.split_once('.')) {
        Some((layer, stem)) => (Some(layer), stem),
        None => (None, path),
    };
    let module = |module: &&Module| module.checkpoint == stem && module.role.in_layers() == layer.is_some();
    let Module { gguf, .. } = family.modules.iter().find(module)?;
    Some(layer.map_or_else(|| format!("{gguf}.{end}"), |layer| format!("blk.{layer}.{gguf}.{end}")))
}

/// The linear map whose weight llama.cpp calls `tensor`: `blk.0.attn_q.weight`; `None` if it is
/// not one.
pub(crate) fn gguf_linear(family: &Family, tensor: &str) -> Option<GgufLinear> {
    let (module, &Module { role, turned, order, .. }) = family.of_gguf(tensor.strip_suffix(".weight")?)?;
    role.is_linear().then_some(GgufLinear { module, order, turned })
}

/// What models of texts and more put in front of their text part's names.
const WRAPPERS: [&str; 2] = ["model.language_model.", "language_model."];

/// Whether a name is one of a model of texts and more.
pub(crate) fn is_wrapped(name: &str) -> bool {
    WRAPPERS.iter().any(|wrapper| name.starts_with(wrapper))
}

/// The name without the prefix that a headless checkpoint leaves out.
///
/// The head is `lm_head` here, whatever a family calls it.
pub(super) fn bare(name: &str) -> &str {
    for head in families::ALL.iter().map(|family| family.head) {
        match name.strip_prefix(head) {
            Some("") => return "lm_head",
            Some(".weight") => return "lm_head.weight",
            Some(".bias") => return "lm_head.bias",
            _ => {}
        }
    }
    let name = WRAPPERS.iter().find_map(|wrapper| name.strip_prefix(wrapper)).unwrap_or(name);
    families::ALL.iter().find_map(|family| name.strip_prefix(family.prefix)).unwrap_or(name)
}
