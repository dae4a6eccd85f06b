//! RMSNorm and LayerNorm, with what adapters read of them.
//! Their ways back are `rms_norm_grad` and `layer_norm_grad`.

use super::{Call, DownProjection, Fit, Operation, Shapes, demand, run_version};
use crate::tensor::TensorId;

/// y = x̂ · weight (+ bias) (+ y), and z = A·y for the adapters of the maps that read y.
/// x̂ = x / √(mean(x²) + eps), or (x − mean(x)) / √(var(x) + eps) where `centred`
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// (N, C)
    pub x: TensorId,
    /// (C)
    pub weight: TensorId,
    /// (C)
    pub bias: Option<TensorId>,
    /// (N, C)
    pub y: TensorId,
    /// Added to the mean square.
    pub eps: f32,
    /// LayerNorm (arXiv:1607.06450), not RMSNorm (arXiv:1910.07467).
    pub centred: bool,
    /// Whether y is added to: read and written.
    pub accumulate: bool,
    /// What rides along; not where y is added to.
    pub shrink: Option<DownProjection>,
}

impl Operation for Norm {
    fn reads(&self) -> Vec<TensorId> {
        let shrink = self.shrink.iter().flat_map(DownProjection::reads);
        [self.x, self.weight].into_iter().chain(self.bias).chain(shrink).collect()
    }

    fn writes(&self) -> Vec<TensorId> {
        [self.y].into_iter().chain(self.shrink.map(|s| s.z)).collect()
    }

    fn check(&self, shapes: &Shapes) -> Fit {
        let c = shapes.cols(self.x);
        shapes.activations(&[self.x, self.y])?;
        let fits = |vector: TensorId| shapes.lines(vector) == c;
        let fit = c == shapes.cols(self.y) && fits(self.weight) && self.bias.is_none_or(fits);
        demand(fit, "x, weight, bias and y differ in C")?;
        demand(!self.accumulate || self.shrink.is_none(), "what rides along reads x̂ · weight")?;
        self.shrink.map_or(Ok(()), |shrink| shrink.check(shapes, c, 1))
    }

    fn run(&self, call: &Call, out: &mut [Vec<u32>]) {
        let bias = self.bias.map(|b| call.f32(b));
        let y = bytemuck::cast_slice_mut(&mut out[0]);
        let before = self.accumulate.then(|| y.to_vec());
        run_version!(call, norm(call.head(self.x), call.f32(self.weight), bias, self.eps, self.centred, y));
        before.iter().flatten().zip(y).for_each(|(before, y)| *y += before);
        DownProjection::ride(self.shrink, call, call.cols(self.x), out);
    }
}
