//! What an adapter does, in the form the bank takes. Not where it lies, nor the files it is read
//! from.

use crate::engine::adapters::numbers::Numbers;

/// A module's A as R · A₀, of which training changes R alone (LoRA-XS, arXiv:2405.17604).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Core {
    /// R (R, R)
    pub r: Vec<f32>,
    /// A₀ (R, C)
    pub a: Vec<f32>,
}

/// What an adapter does to one module of the base: y ← y·(1 + gain) + shift + scale · rows ∘ B (A x).
#[derive(Clone, Debug, PartialEq)]
pub struct ModuleDelta {
    /// The module's checkpoint name.
    pub module: String,
    /// R: may be 0 where only gain or shift act
    pub rank: usize,
    /// A (R, C)
    pub a: Numbers,
    /// B (F, R), without the scale
    pub b: Numbers,
    /// Factor of B, which stands beside it: it is multiplied only where B is used.
    pub scale: f32,
    /// Factors of B's rows (DoRA), (F) or empty
    pub rows: Vec<f32>,
    /// Where A comes from, if only that is trained.
    pub core: Option<Core>,
    /// (F) or empty
    pub gain: Vec<f32>,
    /// (F) or empty
    pub shift: Vec<f32>,
}

impl Default for ModuleDelta {
    fn default() -> Self {
        Self {
            module: String::new(),
            rank: 0,
            a: Numbers::default(),
            b: Numbers::default(),
            scale: 1.0,
            rows: Vec::new(),
            core: None,
            gain: Vec::new(),
            shift: Vec::new(),
        }
    }
}

impl ModuleDelta {
    /// scale · rows ∘ B (F, R)
    pub(crate) fn scaled_b(&self) -> Vec<f32> {
        let mut b = self.b.values();
        b.iter_mut().for_each(|b| *b *= self.scale);
        for (row, factor) in b.chunks_exact_mut(self.rank.max(1)).zip(&self.rows) {
            row.iter_mut().for_each(|b| *b *= factor);
        }
        b
    }
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
    pub(crate) tokens: Vec<u32>,
    /// (tokens, C): the new rows less the base's
    pub(crate) deltas: Vec<f32>,
}

/// Virtual tokens that an adapter puts in front of every text.
#[derive(Clone, Debug, PartialEq)]
pub enum Lead {
    /// Their embeddings (P, C) (prompt tuning, arXiv:2104.08691).
    Prompt(Numbers),
    /// Their keys and values in every layer, (P, L, 2, K·D), keys as attention reads them
    /// (prefix tuning, arXiv:2101.00190).
    Prefix(Numbers),
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

/// What of an adapter is more than A and B of linear maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum More<'a> {
    /// An activation that it scales or shifts.
    Point(&'a str),
    /// Rows of the embedding or the head.
    Rows,
    /// Virtual tokens.
    Lead,
    /// A module whose output it scales or shifts.
    Module(&'a str),
}

impl More<'_> {
    /// What it acts on.
    pub(crate) fn part(&self) -> &str {
        match self {
            Self::Point(part) | Self::Module(part) => part,
            Self::Rows => "rows of the embedding",
            Self::Lead => "the start of a text",
        }
    }
}

impl Adapter {
    /// What it does to modules, where it does nothing else.
    pub(crate) fn as_maps(&self) -> Result<&[ModuleDelta], More<'_>> {
        // Every part is named, so that a new one cannot be left out unseen.
        let Self { deltas, points, rows, lead, warnings: _ } = self;
        if let Some(delta) = points.first() {
            return Err(More::Point(&delta.point));
        }
        if rows.iter().any(|rows| !rows.tokens.is_empty()) {
            return Err(More::Rows);
        }
        if lead.is_some() {
            return Err(More::Lead);
        }
        Ok(deltas)
    }

    /// Its modules, where it is a plain LoRA on each.
    pub(crate) fn as_plain_lora(&self) -> Result<&[ModuleDelta], More<'_>> {
        let deltas = self.as_maps()?;
        let is_plain =
            |d: &ModuleDelta| d.rank > 0 && [&d.rows, &d.gain, &d.shift].iter().all(|v| v.is_empty());
        match deltas.iter().find(|delta| !is_plain(delta)) {
            Some(delta) => Err(More::Module(&delta.module)),
            None => Ok(deltas),
        }
    }

    /// How many numbers it has.
    pub(crate) fn len(&self) -> usize {
        self.sum(Numbers::len, 1)
    }

    /// Bytes of main memory that its numbers take beside a file that is kept.
    pub(crate) fn own_bytes(&self) -> usize {
        self.sum(Numbers::own_bytes, 4)
    }

    /// The sum of `of` each of its numbers, and of `each` for one number of its own.
    fn sum(&self, of: impl Fn(&Numbers) -> usize, each: usize) -> usize {
        let delta = |d: &ModuleDelta| {
            let core = d.core.as_ref().map_or(0, |core| core.r.len() + core.a.len());
            of(&d.a) + of(&d.b) + each * (core + d.rows.len() + d.gain.len() + d.shift.len())
        };
        let points = self.points.iter().map(|d| each * (d.gain.len() + d.shift.len()));
        let rows = self.rows.iter().map(|rows| each * (rows.tokens.len() + rows.deltas.len()));
        let lead = match &self.lead {
            Some(Lead::Prompt(numbers) | Lead::Prefix(numbers)) => of(numbers),
            None => 0,
        };
        self.deltas.iter().map(delta).chain(points).chain(rows).sum::<usize>() + lead
    }
}
