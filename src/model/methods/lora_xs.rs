//! LoRA-XS (arXiv:2405.17604): a core R between two frozen matrices is trained, and A = R·A₀ is derived from it.
//! B stays as it began.

use crate::error::Result;
use crate::mersenne_twister::MersenneTwister;
use crate::model::MAX_ROWS;
use crate::model::layouts::{PartRanks, PartRows};
use crate::model::sites::Site;
use crate::model::steps::Steps;
use crate::model::training::Core;
use crate::ops::{self, Slice};
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

    fn frozen_z(&self, most_ranks: usize) -> [usize; 2] {
        [MAX_ROWS, most_ranks]
    }

    /// Those of a core, whose A it makes.
    fn update_rows(&self, most_ranks: usize) -> usize {
        most_ranks
    }

    /// dz ⊗ A₀·input
    fn backward(&self, steps: &mut Steps, place: Place, part: usize, Flow { delta, input, .. }: Flow) {
        let PartRows { a: u_first, own: [g_first, _], count, .. } = place.rows(steps, part);
        let (y, u) = (steps.model.training.scratch.frozen_z, steps.model.training.scratch.dz);
        let weight = Slice { tensor: place.moments.cores[part].a, first: 0 };
        steps.push(ops::Linear { x: input, weight, bias: None, y, accumulate: false, delta: None });
        let (rows, g, cols) = (delta.rows, place.moments.g[0], [0, count]);
        steps.push(ops::OuterGrad { rows, u, u_first, v: y, g, g_first, count, cols });
    }

    fn update(&self, steps: &mut Steps, place: Place) {
        let Place { site, trained, moments } = place;
        for part in trained.trained_parts() {
            let PartRows { own: [own, _], count, .. } = place.rows(steps, part);
            steps.adam(moments, 0, own * count, (moments.cores[part].r, 0), count * count);
        }
        // A = R·A₀
        for part in trained.trained_parts() {
            let Core { r, a } = moments.cores[part];
            let weight = Slice { tensor: a, first: 0 };
            let (dx, dx_first) = (site.a, place.rows(steps, part).a);
            steps.push(ops::LinearGrad { dy: r, weight, dx, dx_first, accumulate: false });
        }
    }
}
