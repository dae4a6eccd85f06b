//! Where an adapter acts: its modules and activations among the base's, once their shapes are known to fit.
//! Nothing is written here.

use crate::error::{Error, Result};
use crate::model::Table;

use crate::engine::Engine;
use crate::engine::adapters::adapter::{Adapter, Core, ModuleDelta, PointDelta};
use crate::engine::adapters::loaded::{Place, Places, unknown};

impl Engine {
    /// Where an adapter acts, once its shapes are known to fit.
    ///
    /// Errors with `Mismatch` naming a module or a shape.
    pub(in crate::engine) fn places(&self, adapter: &Adapter) -> Result<Places> {
        let c = self.model.config.hidden_size;
        for rows in &adapter.rows {
            if rows.deltas.len() != rows.tokens.len() * c {
                let n = rows.tokens.len();
                return Err(Error::mismatch(format!(
                    "{n} rows of {} elements, expected {c} each",
                    rows.deltas.len()
                )));
            }
            self.check_ids(&rows.tokens)?;
        }
        Ok(Places {
            deltas: adapter.deltas.iter().map(|delta| self.place(delta)).collect::<Result<_>>()?,
            points: adapter.points.iter().map(|delta| self.place_point(delta)).collect::<Result<_>>()?,
        })
    }

    fn place(&self, delta: &ModuleDelta) -> Result<Place> {
        let ModuleDelta { module, rank, a, b, core, gain, shift } = delta;
        let bank = &self.model.bank;
        let (site, part) = bank.find(module).ok_or_else(|| unknown(module))?;
        let [inputs, outputs] = bank.sites[site].shape(part);
        let fits = |what: &str, len: usize, shape: [usize; 2]| {
            if len == shape[0] * shape[1] {
                return Ok(());
            }
            Err(Error::mismatch(format!("module `{module}`: {what} of {len} elements, expected {shape:?}")))
        };
        fits("A", a.len(), [*rank, inputs])?;
        fits("B", b.len(), [outputs, *rank])?;
        if let Some(Core { r, a }) = core {
            fits("the core", r.len(), [*rank, *rank])?;
            fits("the core's A", a.len(), [*rank, inputs])?;
        }
        for (what, values) in [("gain", gain), ("shift", shift)] {
            if !values.is_empty() {
                fits(what, values.len(), [outputs, 1])?;
            }
        }
        Ok(Place { site, part })
    }

    fn place_point(&self, delta: &PointDelta) -> Result<usize> {
        let PointDelta { point, gain, shift } = delta;
        let bank = &self.model.bank;
        let at = bank
            .find_point(point)
            .ok_or_else(|| Error::mismatch(format!("`{point}`: this base model has no such activation")))?;
        let cols = bank.points[at].cols;
        for (what, len) in [("gain", gain.len()), ("shift", shift.len())] {
            if len != cols {
                return Err(Error::mismatch(format!("`{point}`: {what} of {len} elements, expected {cols}")));
            }
        }
        Ok(at)
    }

    /// Names of the modules and activations an adapter acts on.
    pub(in crate::engine) fn modules_of(&self, adapter: &Adapter) -> Vec<String> {
        let deltas = adapter.deltas.iter().map(|delta| delta.module.clone());
        let mut modules: Vec<_> =
            deltas.chain(adapter.points.iter().map(|delta| delta.point.clone())).collect();
        let tables = [self.model.weights.embedding(), "lm_head".to_owned()];
        for (table, rows) in tables.into_iter().zip(&adapter.rows) {
            if !rows.tokens.is_empty() && !modules.contains(&table) {
                modules.push(table);
            }
        }
        modules
    }

    /// Whether cached keys and values depend on what an adapter does.
    pub(in crate::engine) fn feeds_cache(&self, adapter: &Adapter, places: &Places) -> bool {
        let bank = &self.model.bank;
        adapter.lead.is_some()
            || !adapter.rows[Table::Embed as usize].tokens.is_empty()
            || places.deltas.iter().any(|place| bank.site_feeds_cache(place.site, place.part))
            || places.points.iter().any(|&point| bank.point_feeds_cache(point))
    }
}
