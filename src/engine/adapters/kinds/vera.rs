//! VeRA (arXiv:2310.11454): y += λ_b ∘ B (λ_d ∘ A x), A and B shared by all modules, which take the
//! first columns of A and the first rows of B.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::format::peft::{Fields, Json, Layers, MAX_RANK, Path, Written, wrong};
use crate::mersenne_twister::MersenneTwister;

use super::{Kind, Role, Roles, Tensor, find};
use crate::engine::adapters::adapter::{Adapter, ModuleDelta};
use crate::engine::adapters::base::Base;
use crate::engine::adapters::common::Common;

/// Most elements made of one matrix.
const MAX_ELEMENTS: usize = 1 << 28;

/// What only a VeRA config has.
#[derive(Clone, Debug, PartialEq)]
pub struct Vera {
    /// `R`
    pub(crate) r: usize,
    /// The seed of A and B where they are not in the file.
    projection_prng_key: Option<u32>,
}

impl Vera {
    /// A (R, C_in) and B (C_out, R), row-major, for the largest C_in and C_out of the targeted modules;
    /// `None` where they are in the file (`save_projection`).
    ///
    /// `_init_vera_A_vera_B`: Kaiming-uniform numbers (arXiv:1502.01852) from the seed
    /// `projection_prng_key`, A first. The same seed gives PyTorch's bits.
    ///
    /// Errors with `Memory` for matrices larger than any model's.
    pub fn projections(&self, c_in: usize, c_out: usize) -> Result<Option<(Vec<f32>, Vec<f32>)>> {
        let Some(seed) = self.projection_prng_key else { return Ok(None) };
        let r = self.r;
        if [c_in, c_out].iter().any(|c| c.checked_mul(r).is_none_or(|n| n == 0 || n > MAX_ELEMENTS)) {
            return Err(Error::memory(format!("VeRA's matrices, ({r}, {c_in}) and ({c_out}, {r})")));
        }
        let mut random = MersenneTwister::new(seed);
        let a = kaiming_uniform(&mut random, r, c_in);
        let b = kaiming_uniform(&mut random, c_out, r);
        Ok(Some((a, b)))
    }
}

impl Kind for Vera {
    const TYPES: &'static [&'static str] = &["VERA"];
    const WITHOUT_EFFECT: &'static [&'static str] = &["d_initial", "init_weights", "vera_dropout"];
    const ADAPTS: &'static [Role] = &["vera_lambda_b", "vera_lambda_d"];

    fn read(fields: &mut Fields, common: &mut Common) -> Result<Self> {
        common.read_selection(fields)?;
        common.selection.layers = Layers::read(fields)?;
        common.read_bias(fields, "vera_only")?;
        let projection_prng_key = read_seed(fields)?;
        Ok(Self { r: fields.size("r", Some(256), MAX_RANK)?, projection_prng_key })
    }

    fn write(&self, common: &Common, fields: &mut Written) {
        common.write_maps(fields);
        common.write_bias(fields, "vera_only");
        fields.always("r", self.r.into());
        fields.always("save_projection", Json::Bool(self.projection_prng_key.is_none()));
        let seed = self.projection_prng_key.map(|seed| Json::Number(f64::from(seed)));
        fields.add("projection_prng_key", seed.unwrap_or(Json::Null));
    }

    fn place<'a>(&self, name: Path<'a>) -> Option<(&'a str, Role)> {
        let lambda = |word: Role| name.strip(word, "").map(|module| (module, word));
        match name.whole() {
            "base_model.vera_A" if self.projection_prng_key.is_none() => Some(("", "vera_A")),
            "base_model.vera_B" if self.projection_prng_key.is_none() => Some(("", "vera_B")),
            _ => lambda("vera_lambda_b").or_else(|| lambda("vera_lambda_d")),
        }
    }

    fn rank(&self, _module: &str) -> Option<usize> {
        Some(self.r)
    }

    fn complete(&self, base: &Base, modules: &BTreeMap<String, Roles>, shared: &mut Roles) -> Result<()> {
        let [mut inputs, mut outputs] = [0, 0];
        for (module, _) in modules.iter().filter(|(_, roles)| roles.contains_key("vera_lambda_d")) {
            let [c_in, c_out] = base.shape(module)?;
            (inputs, outputs) = (inputs.max(c_in), outputs.max(c_out));
        }
        let Some((a, b)) = self.projections(inputs, outputs)? else { return Ok(()) };
        let made = |name: Role, shape: [usize; 2], values: Vec<f32>| {
            (name, Tensor { name: name.to_owned(), shape: shape.to_vec(), numbers: values.into() })
        };
        shared.extend([made("vera_A", [self.r, inputs], a), made("vera_B", [outputs, self.r], b)]);
        Ok(())
    }

    async fn act(
        &self,
        base: &mut Base<'_>,
        delta: &mut ModuleDelta,
        roles: &mut Roles,
        shared: &Roles,
        _adapter: &mut Adapter,
    ) -> Result<()> {
        // An embedding has no place for it.
        let is_table = delta.module == base.model.weights.embedding();
        if is_table || !Self::ADAPTS.iter().any(|role| roles.contains_key(role)) {
            return Ok(());
        }
        let (module, rank) = (&delta.module, self.r);
        let [inputs, outputs] = base.shape(module)?;
        let (lambda_b, lambda_d) = (find(roles, "vera_lambda_b", module)?, find(roles, "vera_lambda_d", module)?);
        let missing = |name: &str| Error::mismatch(format!("module `{module}`: the adapter has no {name} for it"));
        let a = shared.get("vera_A").ok_or_else(|| missing("vera_A"))?;
        let b = shared.get("vera_B").ok_or_else(|| missing("vera_B"))?;
        lambda_b.expect(&[outputs])?;
        lambda_d.expect(&[rank])?;
        let [a_rows, a_cols] = a.matrix()?;
        let [b_rows, b_cols] = b.matrix()?;
        if a_rows != rank || a_cols < inputs || b_rows < outputs || b_cols != rank {
            return Err(Error::mismatch(format!(
                "tensors `{}` {:?} and `{}` {:?}: expected at least [{rank}, {inputs}] and [{outputs}, {rank}]",
                a.name, a.shape, b.name, b.shape
            )));
        }
        let scaled = |values: &[f32], cols: usize, take: usize, factors: &[f32]| -> Vec<f32> {
            let rows = values.chunks_exact(cols).zip(factors);
            rows.flat_map(|(row, factor)| row.iter().take(take).map(move |x| x * factor)).collect()
        };
        delta.a = scaled(&a.values(), a_cols, inputs, &lambda_d.values()).into();
        delta.b = scaled(&b.values(), rank, rank, &lambda_b.values()).into();
        delta.rank = rank;
        Ok(())
    }
}

/// The seed, unless A and B are in the file. PyTorch uses its low 32 bits.
fn read_seed(fields: &mut Fields) -> Result<Option<u32>> {
    let seed = match fields.take("projection_prng_key") {
        None => Some(0),
        Some(value) => {
            let seed = value.as_integer();
            Some(seed.ok_or_else(|| wrong("projection_prng_key", &value, "an integer"))? as u32)
        }
    };
    match fields.take("save_projection") {
        None | Some(Json::Bool(true)) => Ok(None),
        Some(Json::Bool(false)) => Ok(seed),
        Some(other) => Err(wrong("save_projection", &other, "true or false")),
    }
}

/// (rows, cols) of numbers in ±√3 · √2 / √cols, of 24 random bits each.
fn kaiming_uniform(random: &mut MersenneTwister, rows: usize, cols: usize) -> Vec<f32> {
    let bound = 3.0_f64.sqrt() * (2.0_f64.sqrt() / (cols as f64).sqrt());
    // PyTorch's loop is compiled to multiply and add with one rounding.
    let (from, to) = (-bound as f32, bound as f32);
    let (from, span) = (f64::from(from), f64::from(to - from));
    let one = |_| (f64::from(random.uniform()) * span + from) as f32;
    (0..rows * cols).map(one).collect()
}
