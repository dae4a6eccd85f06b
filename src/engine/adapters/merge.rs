//! Folding a blend of adapters into the base's weights, and taking it out again bit for bit.
//! Not the way to use adapters: a live blend costs little and rounds nothing away.

use std::collections::BTreeMap;

use crate::backend::Backend;
use crate::engine::adapters::merged::{Merged, Original};
use crate::error::{Error, Result};
use crate::model::Model;

use crate::engine::adapters::Adapters;
use crate::engine::adapters::adapter::{ModuleDelta, More};
use crate::engine::adapters::loaded::{Choice, Loaded, Place, unknown};
use crate::engine::runner::Runner;

/// Elements read, folded and written at once.
const PIECE_ELEMENTS: usize = 2 << 20;

/// What is folded into one module: weights and deltas.
struct Fold<'a> {
    module: String,
    terms: Vec<(f64, &'a ModuleDelta)>,
}

impl Adapters {
    /// Folds a blend into the weights: W ← (1 + Σ γ·gain) ∘ W + Σ γ·B·A row by row, biases
    /// ← bias + Σ γ·shift. The merged adapters leave the engine's own choice; others can be
    /// blended on top. A copy of every weight it changes is kept in main memory.
    ///
    /// Errors with `Argument` if adapters are merged already, one of these is being trained, a
    /// generation is running, or the choice is not to be had; `Unsupported` naming what no weight can take; `Device`. The
    /// weights are then as they were.
    pub(crate) async fn merge(&mut self, runner: &mut Runner, choice: &Choice) -> Result<()> {
        if let Some(merged) = &self.merged {
            return Err(Error::argument(format!("{} merged already, unmerge first", names(&merged.choice))));
        }
        let choice: Choice = choice.iter().filter(|(_, weight)| *weight != 0.0).cloned().collect();
        if choice.is_empty() {
            return Err(Error::argument("no adapter to merge"));
        }
        choice.iter().try_for_each(|(name, _)| self.check_untrained(name))?;
        let originals = self.fold(runner, &choice).await?;
        self.merges += 1;
        self.default.retain(|(name, _)| choice.iter().all(|(merged, _)| merged != name));
        self.merged = Some(Merged { choice, version: self.merges, originals });
        Ok(())
    }

    /// Folds adapters into the base's weights, and returns what was there. On an error it is there again.
    async fn fold(&self, runner: &mut Runner, choice: &Choice) -> Result<Vec<Original>> {
        let (model, backend) = runner.parts();
        let mut originals = Vec::new();
        for fold in &folds(model, self.active(choice)?)? {
            if let Err(e) = fold.apply(model, backend, &mut originals).await {
                restore(backend, &originals);
                return Err(e);
            }
        }
        Ok(originals)
    }

    /// Folds what is merged into weights that are the base's own.
    ///
    /// Errors with `Device`.
    pub(crate) async fn merge_again(&mut self, runner: &mut Runner) -> Result<()> {
        let Some(mut merged) = self.merged.take() else { return Ok(()) };
        let folded = self.fold(runner, &merged.choice).await.map(|originals| merged.originals = originals);
        self.merged = Some(merged);
        folded
    }

    /// Gives the weights the base's bits again; what was cached before the merge is valid again.
    ///
    /// Errors with `Argument` if nothing is merged, or a generation is running.
    pub(crate) fn unmerge(&mut self, runner: &mut Runner) -> Result<()> {
        let merged = self.merged.take().ok_or_else(|| Error::argument("no adapter is merged"))?;
        restore(runner.parts().1, &merged.originals);
        Ok(())
    }

    /// What is merged into the weights.
    pub(crate) fn merged(&self) -> &[(String, f32)] {
        self.merged.as_ref().map_or(&[], |merged| &merged.choice)
    }
}

fn restore(backend: &mut Backend, originals: &[Original]) {
    originals.iter().for_each(|original| backend.upload(original.tensor, original.first, &original.words));
}

/// `` adapter `a` is ``, `` adapters `a`, `b` are ``
fn names(choice: &Choice) -> String {
    let list: Vec<_> = choice.iter().map(|(name, _)| format!("`{name}`")).collect();
    let (noun, verb) = if list.len() == 1 { ("adapter", "is") } else { ("adapters", "are") };
    format!("{noun} {} {verb}", list.join(", "))
}

/// What each module takes. Errors with `Unsupported` naming what has no weight to go to.
fn folds<'a>(model: &Model, chosen: Vec<(&'a Loaded, f32)>) -> Result<Vec<Fold<'a>>> {
    let mut folds: BTreeMap<Place, Fold<'a>> = BTreeMap::new();
    for (loaded, weight) in chosen {
        let refused = |module: &str, why: &str| {
            let name = &loaded.info.name;
            Error::unsupported(format!("adapter `{name}` cannot be merged: `{module}` {why}"))
        };
        let deltas = loaded.adapter.as_maps().map_err(|more| match more {
            More::Rows => refused("embed_tokens or lm_head", "has rows replaced"),
            More::Lead => refused(more.part(), "has virtual tokens"),
            More::Point(_) | More::Module(_) => refused(more.part(), "is an activation, which has no weight"),
        })?;
        for (delta, place) in deltas.iter().zip(&loaded.places.deltas) {
            if place.site == model.bank.embed {
                return Err(refused(
                    &delta.module,
                    "is the embedding, which is looked up and not multiplied",
                ));
            }
            let module = model.weights.full_name(&delta.module);
            if module == model.weights.head_name() && model.config.tie_word_embeddings {
                return Err(refused(&module, "is tied to the embedding, which would change with it"));
            }
            let rows = model.weights.rows_of(&module).ok_or_else(|| unknown(&module))?;
            let dtype = rows.first().map(|(tensor, ..)| model.tensors.get(*tensor).dtype);
            if let Some(dtype) = dtype.filter(|dtype| dtype.is_packed()) {
                let why =
                    format!("is held as {}, which would round what is added, expected f32", dtype.name());
                return Err(refused(&module, &why));
            }
            let shifts = delta.shift.iter().any(|shift| *shift != 0.0);
            if shifts && model.weights.vector(&format!("{module}.bias")).is_none() {
                return Err(refused(&module, "is shifted, and has no bias in the base"));
            }
            let fold = folds.entry(*place).or_insert_with(|| Fold { module, terms: Vec::new() });
            fold.terms.push((f64::from(weight), delta));
        }
    }
    Ok(folds.into_values().collect())
}

impl Fold<'_> {
    /// Reads the module's weights, keeps them, and writes them folded.
    async fn apply(&self, model: &Model, backend: &mut Backend, originals: &mut Vec<Original>) -> Result<()> {
        let (site, _) = model.bank.find(&self.module).ok_or_else(|| unknown(&self.module))?;
        let c = model.bank.sites[site].inputs;
        let rows_at_once = (PIECE_ELEMENTS / c).max(1);
        let runs = model.weights.rows_of(&self.module).ok_or_else(|| unknown(&self.module))?;
        let factors = |(weight, delta): &(f64, &ModuleDelta)| (*weight, delta.a.values(), delta.scaled_b());
        let factors: Vec<_> = self.terms.iter().map(factors).collect();
        let mut row = 0;
        for (tensor, first, count) in runs {
            for start in (0..count).step_by(rows_at_once) {
                let n = rows_at_once.min(count - start);
                let words = backend.read(tensor, (first + start) * c, n * c).await?;
                let mut weight: Vec<f32> = bytemuck::cast_slice(&words).to_vec();
                weight
                    .chunks_exact_mut(c)
                    .zip(row + start..)
                    .for_each(|(w, f)| self.fold_row(&factors, f, w));
                replace(backend, originals, Original { tensor, first: (first + start) * c, words }, &weight);
            }
            row += count;
        }
        if let Some((tensor, first, count)) = model.weights.vector(&format!("{}.bias", self.module)) {
            let words = backend.read(tensor, first, count).await?;
            let mut bias: Vec<f32> = bytemuck::cast_slice(&words).to_vec();
            bias.iter_mut().enumerate().for_each(|(f, bias)| self.fold_bias(f, bias));
            replace(backend, originals, Original { tensor, first, words }, &bias);
        }
        Ok(())
    }

    /// w ← w·(1 + Σ γ·gain[f]) + Σ γ·B[f]·A, w (C) the f-th row of W
    fn fold_row(&self, factors: &[(f64, Vec<f32>, Vec<f32>)], f: usize, w: &mut [f32]) {
        let gain: f64 = self.terms.iter().map(|(weight, d)| weight * at(&d.gain, f)).sum();
        let mut sums: Vec<f64> = w.iter().map(|w| f64::from(*w) * (1.0 + gain)).collect();
        for (weight, a, b) in factors {
            let rank = a.len() / w.len();
            for (a, b) in a.chunks_exact(w.len()).zip(&b[f * rank..]) {
                let factor = weight * f64::from(*b);
                sums.iter_mut().zip(a).for_each(|(sum, a)| *sum += factor * f64::from(*a));
            }
        }
        w.iter_mut().zip(sums).for_each(|(w, sum)| *w = sum as f32);
    }

    /// bias ← bias + Σ γ·shift[f]
    fn fold_bias(&self, f: usize, bias: &mut f32) {
        let shift: f64 = self.terms.iter().map(|(weight, d)| weight * at(&d.shift, f)).sum();
        *bias = (f64::from(*bias) + shift) as f32;
    }
}

/// Element `f` of a vector that is absent where it would be zero.
fn at(values: &[f32], f: usize) -> f64 {
    values.get(f).copied().map_or(0.0, f64::from)
}

fn replace(backend: &mut Backend, originals: &mut Vec<Original>, original: Original, values: &[f32]) {
    backend.upload(original.tensor, original.first, bytemuck::cast_slice(values));
    originals.push(original);
}
