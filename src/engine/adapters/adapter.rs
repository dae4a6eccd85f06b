//! What an adapter does, in the form the bank takes. Not where it lies, nor the files it is read
//! from.

/// A module's A as R · A₀, of which training changes R alone (LoRA-XS, arXiv:2405.17604).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Core {
    /// R (R, R)
    pub r: Vec<f32>,
    /// A₀ (R, C)
    pub a: Vec<f32>,
}

/// What an adapter does to one module of the base.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModuleDelta {
    /// The module's checkpoint name.
    pub module: String,
    /// R: may be 0 where only gain or shift act
    pub rank: usize,
    /// A (R, C)
    pub a: Vec<f32>,
    /// B (F, R) with the scale folded in
    pub b: Vec<f32>,
    /// Where A comes from, if only that is trained.
    pub core: Option<Core>,
    /// y ← y·(1 + gain), (F) or empty
    pub gain: Vec<f32>,
    /// y ← y + shift, (F) or empty
    pub shift: Vec<f32>,
}

/// What an adapter does to one activation: x ← x·(1 + gain) + shift.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PointDelta {
    /// A norm's checkpoint name, or a linear map's and `.input`.
    pub point: String,
    /// (C)
    pub gain: Vec<f32>,
    /// (C)
    pub shift: Vec<f32>,
}

/// Rows that an adapter puts in the place of the base's, in the embedding or the head.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowDeltas {
    /// Token ids, none twice.
    pub tokens: Vec<u32>,
    /// (tokens, C): the new rows less the base's
    pub deltas: Vec<f32>,
}

/// Virtual tokens that an adapter puts in front of every text.
#[derive(Clone, Debug, PartialEq)]
pub enum Lead {
    /// Their embeddings (P, C) (prompt tuning, arXiv:2104.08691).
    Prompt(Vec<f32>),
    /// Their keys and values in every layer, (P, L, 2, K·D), keys as attention reads them
    /// (prefix tuning, arXiv:2101.00190).
    Prefix(Vec<f32>),
}

/// An adapter in the form the bank takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adapter {
    /// One for each module it acts on.
    pub deltas: Vec<ModuleDelta>,
    /// One for each activation it acts on directly.
    pub points: Vec<PointDelta>,
    /// What it replaces in the embedding and in the head, as
    /// [`Table`](crate::model::Table) counts them.
    pub rows: [RowDeltas; 2],
    /// What it puts in front of a text.
    pub lead: Option<Lead>,
    /// What its file cannot say, and the caller should know.
    pub warnings: Vec<String>,
}

impl Adapter {
    /// Bytes of its own numbers.
    pub(crate) fn bytes(&self) -> usize {
        let core = |core: &Core| core.r.len() + core.a.len();
        let deltas = self
            .deltas
            .iter()
            .map(|d| d.a.len() + d.b.len() + d.core.as_ref().map_or(0, core) + d.gain.len() + d.shift.len());
        let points = self.points.iter().map(|d| d.gain.len() + d.shift.len());
        let rows = self.rows.iter().map(|rows| rows.tokens.len() + rows.deltas.len());
        let lead = match &self.lead {
            Some(Lead::Prompt(numbers) | Lead::Prefix(numbers)) => numbers.len(),
            None => 0,
        };
        4 * (deltas.chain(points).chain(rows).sum::<usize>() + lead)
    }
}
