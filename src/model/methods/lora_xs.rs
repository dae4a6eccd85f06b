//! LoRA-XS (arXiv:2405.17604): a core R between two frozen matrices is trained, and A = R·A₀ is derived from it.
//! B stays as it began.

use crate::error::Result;
use crate::mersenne_twister::MersenneTwister;
use crate::model::layouts::PartRows;
use crate::model::sites::{PartRanks, Site};
use crate::model::steps::Steps;
use crate::model::trained::Core;
use crate::ops::{Linear, LinearGrad, OuterGrad, Product, Slice, Trained};
use crate::svd::Svd;

use super::{Begun, Flow, Method, Place, zeros};

pub(super) struct LoraXs;

impl Method for LoraXs {
    fn has_core(&self) -> bool {
        true
    }

    fn most_rank(&self, [inputs, outputs]: [usize; 2]) -> Option<usize> {
        Some(inputs.min(outputs))
    }

    fn reads_base(&self) -> bool {
        true
    }

    /// With W = U S Vᵀ cut to the rank: B = U, A₀ = S Vᵀ, as published, and R = 0. The published R
    /// begins as noise of 1e-5, which a B and an A₀ that are not zero do without.
    fn begin(
        &self,
        [inputs, outputs]: [usize; 2],
        rank: usize,
        weight: &[f32],
        _random: &mut MersenneTwister,
    ) -> Result<Begun> {
        let Svd { u, s, v } = Svd::truncated(weight, inputs, rank);
        let scaled = |(s, v): (&f64, &Vec<f64>)| -> Vec<f32> { v.iter().map(|v| (s * v) as f32).collect() };
        let core = [zeros(rank * rank)?, s.iter().zip(&v).flat_map(scaled).collect()];
        let b = (0..outputs).flat_map(|f| u.iter().map(move |u| u[f] as f32)).collect();
        Ok(Begun { a: zeros(rank * inputs)?, b, core: Some(core) })
    }

    /// Of the cores, (rows of A, count), and of nothing.
    fn gradients(&self, site: &Site, parts: &PartRanks) -> [[usize; 2]; 2] {
        let [of_a, _] = site.own_rows(parts);
        [[of_a, parts.iter().copied().max().unwrap_or(0)], [1, 1]]
    }

    fn core(&self, inputs: usize, count: usize) -> [[usize; 2]; 2] {
        [[count, count], [count, inputs]]
    }

    fn frozen_z(&self, rows: usize, most_ranks: usize) -> [usize; 2] {
        [rows, most_ranks]
    }

    /// Those of a core, whose A it makes.
    fn update_rows(&self, most_ranks: usize) -> usize {
        most_ranks
    }

    /// dz ⊗ A₀·input
    fn backward(&self, steps: &mut Steps, place: &Place, Flow { delta, input, .. }: Flow) {
        let (y, dz) = (steps.model.training.scratch.frozen_z, steps.model.training.scratch.dz);
        for part in place.trained.trained_parts() {
            let PartRows { a: u_first, own: [own, _], count, .. } = place.rows(part);
            let weight = Slice { tensor: place.moments.cores[part].a, first: 0 };
            steps.push(Linear { x: input, weight, bias: None, y, accumulate: false, delta: None });
            let g_first = place.moments.first[0] + own * count;
            let products = vec![Product { pair: 0, u_first, count, cols: [0, count], g_first }];
            steps.push(OuterGrad { rows: delta.rows, pairs: vec![[dz, y]], g: place.g(steps), products });
        }
    }

    fn trained(&self, place: &Place) -> Vec<Trained> {
        let Place { trained, moments, .. } = *place;
        let of_core = |part: usize| {
            let PartRows { own: [own, _], count, .. } = place.rows(part);
            let (param, g_first) = (moments.cores[part].r, moments.first[0] + own * count);
            Trained { param, first: 0, g_first, len: count * count }
        };
        trained.trained_parts().map(of_core).collect()
    }

    /// A = R·A₀
    fn derive(&self, steps: &mut Steps, place: &Place) {
        for part in place.trained.trained_parts() {
            let Core { r, a } = place.moments.cores[part];
            let weight = Slice { tensor: a, first: 0 };
            let (dx, dx_first) = (place.site.a, place.rows(part).a);
            steps.push(LinearGrad { dy: r, weight, dx, dx_first, accumulate: false });
        }
    }
}
