//! LoRA (arXiv:2106.09685): A and B are trained. Nothing is derived from them.

use crate::error::Result;
use crate::mersenne_twister::MersenneTwister;
use crate::model::layouts::{PartRanks, PartRows};
use crate::model::sites::Site;
use crate::model::steps::Steps;
use crate::ops;

use super::{Begun, Flow, Method, Place, zeros};

pub(super) struct Lora;

impl Method for Lora {
    /// A Kaiming-uniform with a = √5, that is ±1/√C, and B zero, as PEFT begins one.
    fn begin(
        &self,
        [inputs, outputs]: [usize; 2],
        rank: usize,
        _weight: &[f32],
        random: &mut MersenneTwister,
    ) -> Result<Begun> {
        let bound = 1.0 / (inputs as f32).sqrt();
        let [mut a, b] = [zeros(rank * inputs)?, zeros(outputs * rank)?];
        a.fill_with(|| (2.0 * random.uniform() - 1.0) * bound);
        Ok(Begun { a, b, core: None })
    }

    /// Of the adapter's rows of A, (rows, C), and of B, (rows, F).
    fn gradients(&self, site: &Site, parts: &PartRanks) -> [[usize; 2]; 2] {
        let [of_a, of_b] = site.own_rows(parts);
        [[of_a, site.inputs], [of_b, site.outputs()]]
    }

    /// dz ⊗ input, and z ⊗ dy.
    fn backward(&self, steps: &mut Steps, place: Place, part: usize, Flow { delta, input, dy }: Flow) {
        let PartRows { a: u_first, own: [own_a, own_b], count, .. } = place.rows(steps, part);
        let (rows, site, [ga, gb]) = (delta.rows, place.site, place.moments.g);
        let outer = |u, v, g, g_first, cols| ops::OuterGrad { rows, u, u_first, v, g, g_first, count, cols };
        let dz = steps.model.training.scratch.dz;
        steps.push(outer(dz, input, ga, own_a, [0, site.inputs]));
        steps.push(outer(delta.z, dy, gb, own_b, [site.edges[part], site.edges[part + 1]]));
    }

    fn update(&self, steps: &mut Steps, place: Place) {
        let Place { site, trained, moments } = place;
        let (c, f) = (site.inputs, site.outputs());
        for part in trained.trained_parts() {
            let PartRows { a, own: [own, _], count, .. } = place.rows(steps, part);
            steps.adam(moments, 0, own * c, (site.a, a * c), count * c);
        }
        steps.adam(moments, 1, 0, (site.b, trained.first * f), site.needs(&trained.parts) * f);
    }
}
