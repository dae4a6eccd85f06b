//! What the modules of a checkpoint do, and one of a family's table of them.
//! Not the tables, which each family has; no name is looked up here.

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
    pub(super) fn in_layers(self) -> bool {
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
    pub(super) fn is_linear(self) -> bool {
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
    pub(super) role: Role,
    /// Within its layer, or without the base model's prefix.
    pub(super) checkpoint: &'static str,
    pub(super) gguf: &'static str,
    /// Whether checkpoints store its weight (in, out), as Conv1D does; llama.cpp turns it round.
    pub(super) turned: bool,
    pub(super) order: RowOrder,
}

impl Module {
    pub(crate) const fn new(role: Role, checkpoint: &'static str, gguf: &'static str) -> Self {
        Self { role, checkpoint, gguf, turned: false, order: RowOrder::Same }
    }

    /// What checkpoints call it in layer `l`, or the one there is, without the base model's prefix.
    /// `layers` stands before a layer's number.
    pub(crate) fn path(&self, layers: &str, l: usize) -> String {
        let Self { role, checkpoint, .. } = self;
        if role.in_layers() { format!("{layers}.{l}.{checkpoint}") } else { (*checkpoint).to_owned() }
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
