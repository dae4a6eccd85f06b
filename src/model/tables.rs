//! Rows that adapters give the embedding and the head: those they replace, and those of virtual
//! tokens. Which adapter has which rows is the engine's business.

use crate::error::Result;
use crate::ops::Replaced;
use crate::plan::{Dtype, TensorId, Tensors};

/// The embedding or the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// Looked up.
    Embed,
    /// Multiplied with.
    Head,
}

impl Table {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Embed, Self::Head];
}

/// What a bank has room for beside ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// Adapters.
    pub(crate) adapters: usize,
    /// Rows of embedding and head that are replaced.
    pub(crate) rows: usize,
    /// Virtual tokens that have an embedding.
    pub(crate) prompts: usize,
}

impl Room {
    /// Room for this and for `needed`; what must grow doubles, so that it does so seldom.
    pub(crate) fn grown_to(self, needed: Self) -> Self {
        let grown = |has: usize, needs: usize| if needs <= has { has } else { needs.next_power_of_two() };
        Self {
            adapters: grown(self.adapters, needed.adapters),
            // As many as there are: an adapter may have the whole vocabulary's.
            rows: self.rows.max(needed.rows),
            prompts: self.prompts.max(needed.prompts),
        }
    }
}

/// The tensors. They take no memory until adapters need them.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    /// (rows, C): replaced rows, less the base's
    pub(crate) deltas: TensorId,
    /// (virtual tokens, C)
    pub(crate) prompts: TensorId,
    /// Of embedding and head: (adapters, V), where in `deltas` a token's row is
    maps: [TensorId; 2],
    /// Whether any adapter replaces rows.
    enabled: [bool; 2],
    /// V
    pub(crate) v: usize,
    /// C
    pub(crate) c: usize,
}

impl Tables {
    pub(super) fn declare(tensors: &mut Tensors, v: usize, c: usize) -> Result<Self> {
        let mut empty = |name: &str, dtype| tensors.declare(name, dtype, &[1, 1]);
        Ok(Self {
            deltas: empty("rows.deltas", Dtype::F32)?,
            prompts: empty("rows.prompts", Dtype::F32)?,
            maps: [empty("rows.embed", Dtype::U32)?, empty("rows.head", Dtype::U32)?],
            enabled: [false; 2],
            v,
            c,
        })
    }

    /// Lets adapters replace rows of a table, from the next reshape of the bank on.
    pub(crate) fn enable(&mut self, table: Table) {
        self.enabled[table as usize] = true;
    }

    /// (adapters, V) u32 of a table, if any adapter replaces rows of it.
    pub(crate) fn map(&self, table: Table) -> Option<TensorId> {
        self.enabled[table as usize].then_some(self.maps[table as usize])
    }

    pub(super) fn reshape(&self, tensors: &mut Tensors, room: Room) -> Result<()> {
        let Self { v, c, .. } = *self;
        let sized = |rows: usize, cols: usize| if rows > 0 { [rows, cols] } else { [1, 1] };
        tensors.reshape(self.deltas, &sized(room.rows, c))?;
        tensors.reshape(self.prompts, &sized(room.prompts, c))?;
        for (map, enabled) in self.maps.into_iter().zip(self.enabled) {
            tensors.reshape(map, &sized(if enabled { room.adapters } else { 0 }, v))?;
        }
        Ok(())
    }

    /// All of them.
    pub(super) fn tensors(&self) -> [TensorId; 4] {
        let [embed, head] = self.maps;
        [self.deltas, self.prompts, embed, head]
    }

    /// What plans read of a table's replaced rows.
    pub(super) fn replaced(&self, table: Table) -> Option<Replaced> {
        self.map(table).map(|map| Replaced { map, deltas: self.deltas })
    }
}
