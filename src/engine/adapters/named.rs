//! Adapters as a file names them from which keys and values come back: by name, weight and a digest of their numbers.
//! Not the key that the running engine knows them by, which counts versions.

use serde::{Deserialize, Serialize};

use crate::engine::adapters::Adapters;
use crate::engine::adapters::adapter::{Adapter, Lead};
use crate::engine::adapters::loaded::{Choice, Loaded, MixKey};
use crate::error::{Error, Result};
use crate::format::digest::Digest;

/// An adapter of a mix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) weight: f32,
    /// Of its numbers.
    pub(crate) digest: String,
}

/// The adapters that keys and values were computed under, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct NamedMix {
    /// Those that act on top of the weights and show in the cache.
    pub(crate) active: Vec<Named>,
    /// Those that are merged into the weights.
    pub(crate) merged: Vec<Named>,
}

impl Named {
    fn of(loaded: &Loaded, weight: f32) -> Self {
        Self { name: loaded.info.name.clone(), weight, digest: loaded.adapter.digest() }
    }
}

impl NamedMix {
    /// Errors with `Mismatch` saying what of it is otherwise than in `saved`.
    pub(crate) fn check(&self, saved: &Self) -> Result<()> {
        for (how, here, there) in
            [("", &self.active, &saved.active), ("merged ", &self.merged, &saved.merged)]
        {
            let alike = |(a, b): (&Named, &Named)| a.name == b.name && a.weight == b.weight;
            if here.len() != there.len() || !here.iter().zip(there).all(alike) {
                let (here, there) = (said(here), said(there));
                return Err(Error::mismatch(format!(
                    "{how}adapters {here}, expected {there}: it was saved under those"
                )));
            }
            if let Some((here, _)) = here.iter().zip(there).find(|(a, b)| a.digest != b.digest) {
                let name = &here.name;
                return Err(Error::mismatch(format!(
                    "{how}adapter `{name}` has other numbers than the one that it was saved under"
                )));
            }
        }
        Ok(())
    }
}

fn said(mix: &[Named]) -> String {
    let each = mix.iter().map(|Named { name, weight, .. }| format!("`{name}` of weight {weight}"));
    if mix.is_empty() { "none".to_owned() } else { each.collect::<Vec<_>>().join(" and ") }
}

impl Adapters {
    /// The adapters of a key of the cache.
    ///
    /// Errors with `Argument` if one of them has changed since, or is gone.
    pub(crate) fn named(&self, key: &MixKey) -> Result<NamedMix> {
        let gone =
            || Error::argument("an adapter of the text has changed since it was computed, compute it again");
        let mut mix = NamedMix::default();
        for entry @ (id, weight) in key {
            if let Some(merged) = self.merged.as_ref().filter(|merged| merged.key() == *entry) {
                mix.merged = self.merged_named(&merged.choice)?;
            } else {
                let loaded = self.loaded.iter().find(|loaded| loaded.id == *id).ok_or_else(gone)?;
                mix.active.push(Named::of(loaded, f32::from_bits(*weight)));
            }
        }
        // In which order adapters were loaded changes the last bits of sums, and no more.
        mix.active.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(mix)
    }

    fn merged_named(&self, choice: &Choice) -> Result<Vec<Named>> {
        let named = choice.iter().map(|(name, weight)| Ok(Named::of(self.find(name)?, *weight)));
        let mut named = named.collect::<Result<Vec<_>>>()?;
        named.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(named)
    }
}

impl Adapter {
    /// Of all that it does, wherever its numbers lie.
    fn digest(&self) -> String {
        // Every part is named, so that a new one cannot be left out unseen.
        let Self { deltas, points, rows, lead, warnings: _ } = self;
        let mut digest = Digest::of("adapter");
        for delta in deltas {
            digest.add_bytes(delta.module.as_bytes());
            digest.add(delta.rank as u64);
            digest.add_floats(&delta.a.values());
            digest.add_floats(&delta.b.values());
            digest.add_floats(&[delta.scale]);
            [&delta.rows, &delta.gain, &delta.shift]
                .into_iter()
                .for_each(|numbers| digest.add_floats(numbers));
        }
        for point in points {
            digest.add_bytes(point.point.as_bytes());
            [&point.gain, &point.shift].into_iter().for_each(|numbers| digest.add_floats(numbers));
        }
        for rows in rows {
            digest.add_words(&rows.tokens);
            digest.add_floats(&rows.deltas);
        }
        if let Some(Lead::Prompt(numbers) | Lead::Prefix(numbers)) = lead {
            digest.add_floats(&numbers.values());
        }
        digest.hex()
    }
}
