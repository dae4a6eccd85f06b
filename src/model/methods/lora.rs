//! LoRA (arXiv:2106.09685): A and B are trained. Nothing is derived from them.

use crate::error::Result;
use crate::mersenne_twister::MersenneTwister;
use crate::model::layouts::PartRows;
use crate::model::sites::{PartRanks, Site};
use crate::model::steps::Steps;
use crate::ops::{OuterGrad, Product, Trained};

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
    fn backward(&self, steps: &mut Steps, place: &Place, Flow { delta, input, dy }: Flow) {
        let (site, [first_a, first_b]) = (place.site, place.moments.first);
        let [c, f] = [site.inputs, site.outputs()];
        let product = |part| {
            let PartRows { a: u_first, own: [own_a, own_b], count, .. } = place.rows(part);
            let of = |pair, g_first, cols| Product { pair, u_first, count, cols, g_first };
            let columns = [site.edges[part], site.edges[part + 1]];
            [of(0, first_a + own_a * c, [0, c]), of(1, first_b + own_b * f, columns)]
        };
        let products = place.trained.trained_parts().flat_map(product).collect();
        let pairs = vec![[steps.model.training.scratch.dz, input], [delta.z, dy]];
        steps.push(OuterGrad { rows: delta.rows, pairs, g: place.g(steps), products });
    }

    /// A's rows of each part, and B's, which parts share.
    fn trained(&self, place: &Place) -> Vec<Trained> {
        let Place { site, trained, moments, .. } = *place;
        let ([c, f], [first_a, first_b]) = ([site.inputs, site.outputs()], moments.first);
        let of_a = |part| {
            let PartRows { a, own: [own, _], count, .. } = place.rows(part);
            Trained { param: site.a, first: a * c, g_first: first_a + own * c, len: count * c }
        };
        let len = site.needs(&trained.parts) * f;
        let of_b = Trained { param: site.b, first: trained.first * f, g_first: first_b, len };
        trained.trained_parts().map(of_a).chain([of_b]).collect()
    }
}
