//! Where an adapter acts: its modules and activations among the base's, once their shapes are known to fit.
//! Nothing is written here.

use crate::engine::adapters::adapter::{Adapter, Core, Lead, ModuleDelta, PointDelta};
use crate::engine::adapters::loaded::{Place, Places, unknown};
use crate::error::{Error, Result};
use crate::model::{Bank, Model, Span, Table};

impl Places {
    /// Where an adapter acts, once its shapes are known to fit.
    ///
    /// Errors with `Mismatch` naming a module or a shape.
    pub(crate) fn of(model: &Model, adapter: &Adapter) -> Result<Self> {
        let c = model.config.hidden_size;
        for rows in &adapter.rows {
            if rows.deltas.len() != rows.tokens.len() * c {
                let n = rows.tokens.len();
                return Err(Error::mismatch(format!(
                    "{n} rows of {} elements, expected {c} each",
                    rows.deltas.len()
                )));
            }
            model.check_ids(&rows.tokens)?;
        }
        Ok(Self {
            deltas: adapter.deltas.iter().map(|delta| place(&model.bank, delta)).collect::<Result<_>>()?,
            points: adapter
                .points
                .iter()
                .map(|delta| place_point(&model.bank, delta))
                .collect::<Result<_>>()?,
        })
    }
}

fn place(bank: &Bank, delta: &ModuleDelta) -> Result<Place> {
    let ModuleDelta { module, rank, a, b, scale: _, rows, core, gain, shift } = delta;
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
    for (what, values) in [("row factors", rows), ("gain", gain), ("shift", shift)] {
        if !values.is_empty() {
            fits(what, values.len(), [outputs, 1])?;
        }
    }
    Ok(Place { site, part })
}

fn place_point(bank: &Bank, delta: &PointDelta) -> Result<Span> {
    let PointDelta { point, gain, shift } = delta;
    let span = bank
        .find_point(point)
        .ok_or_else(|| Error::mismatch(format!("`{point}`: this base model has no such activation")))?;
    let cols = span.cols;
    for (what, len) in [("gain", gain.len()), ("shift", shift.len())] {
        if len != cols {
            return Err(Error::mismatch(format!("`{point}`: {what} of {len} elements, expected {cols}")));
        }
    }
    Ok(span)
}

/// Names of the modules and activations an adapter acts on.
pub(crate) fn modules_of(model: &Model, adapter: &Adapter) -> Vec<String> {
    let deltas = adapter.deltas.iter().map(|delta| delta.module.clone());
    let mut modules: Vec<_> = deltas.chain(adapter.points.iter().map(|delta| delta.point.clone())).collect();
    let tables = [model.weights.embedding(), model.weights.head_name().to_owned()];
    for (table, rows) in tables.into_iter().zip(&adapter.rows) {
        if !rows.tokens.is_empty() && !modules.contains(&table) {
            modules.push(table);
        }
    }
    modules
}

/// Whether cached keys and values depend on what an adapter does.
pub(crate) fn feeds_cache(bank: &Bank, adapter: &Adapter, places: &Places) -> bool {
    adapter.lead.is_some()
        || !adapter.rows[Table::Embed as usize].tokens.is_empty()
        || places.deltas.iter().any(|place| bank.site_feeds_cache(place.site, place.part))
        || places.points.iter().any(|span| span.feeds_cache)
}

/// P of an adapter, once its shape is known to fit.
///
/// Errors with `Mismatch` for a shape of another base, `Argument` if its virtual tokens
/// leave no room for a text.
pub(crate) fn check_lead(model: &Model, adapter: &Adapter) -> Result<usize> {
    let config = &model.config;
    let kv = config.num_key_value_heads * config.head_dim;
    let (what, len, per_token) = match &adapter.lead {
        None => return Ok(0),
        Some(Lead::Prompt(values)) => ("embeddings", values.len(), config.hidden_size),
        Some(Lead::Prefix(values)) => ("keys and values", values.len(), 2 * config.layers.len() * kv),
    };
    if len == 0 || len % per_token != 0 {
        return Err(Error::mismatch(format!(
            "virtual tokens: {what} of {len} elements, expected {per_token} for each"
        )));
    }
    let (n, context) = (len / per_token, model.context());
    if n >= context {
        return Err(Error::argument(format!("{n} virtual tokens, the context has {context}")));
    }
    Ok(n)
}
