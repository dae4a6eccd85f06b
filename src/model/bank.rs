//! The adapter bank's tensors: at each linear map room for the stacked ranks of all loaded
//! adapters. Which adapter lies where is the engine's business.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::plan::{Delta, Dtype, Mix, Shrink, TensorId, Tensors};

use super::MAX_ROWS;

/// Lines of the `mixes` tensor: combinations of adapters in use at one time, and the base.
pub const MIXES: usize = 64;

/// One linear map that adapters can act on; fused projections are its parts.
#[derive(Clone, Debug)]
pub struct Site {
    /// (parts·R, C); R and C as in [`Bank`]
    pub a: TensorId,
    /// (R + 2·adapters, F)
    pub b: TensorId,
    /// C
    pub inputs: usize,
    /// First output of each part, and at the end F.
    pub edges: Vec<usize>,
    /// Whether any adapter acts here: only then do plans carry the steps.
    pub enabled: bool,
}

/// One activation that adapters can scale and shift: the output of a norm, or the input of a
/// linear map that shares it with no other.
#[derive(Clone, Debug)]
pub struct Point {
    /// (2·adapters, C) = [gains; shifts]
    pub gains: TensorId,
    /// C
    pub cols: usize,
    /// Whether any adapter acts here.
    pub enabled: bool,
}

/// The bank.
#[derive(Clone, Debug)]
pub struct Bank {
    /// (MIXES, 16), see [`Mix`]
    pub mixes: TensorId,
    /// (MAX_ROWS, most parts·partials·R)
    z: TensorId,
    /// The most partial sums of one z: the heads of an attention.
    partials: usize,
    /// `R`: ranks there is room for at every enabled site.
    pub ranks: usize,
    /// Adapters there is room for.
    pub adapters: usize,
    /// Every linear map.
    pub sites: Vec<Site>,
    /// Every activation adapters can act on.
    pub points: Vec<Point>,
    /// Site and part of a module, by its checkpoint name without prefix.
    modules: BTreeMap<String, (usize, usize)>,
    /// Points by the norm's name, or the linear map's and `.input`.
    named_points: BTreeMap<String, usize>,
}

impl Bank {
    pub(super) fn declare(tensors: &mut Tensors, partials: usize) -> Result<Self> {
        Ok(Self {
            mixes: tensors.declare("mixes", Dtype::U32, &[MIXES, size_of::<Mix>() / 4])?,
            z: tensors.declare("z", Dtype::F32, &[MAX_ROWS, 1])?,
            partials,
            ranks: 0,
            adapters: 0,
            sites: Vec::new(),
            points: Vec::new(),
            modules: BTreeMap::new(),
            named_points: BTreeMap::new(),
        })
    }

    /// Adds a linear map of `inputs` columns whose outputs are those of `modules`
    /// (name, outputs), one after the other. It takes no memory until it is enabled.
    pub(super) fn site(
        &mut self,
        tensors: &mut Tensors,
        name: &str,
        inputs: usize,
        modules: &[(String, usize)],
    ) -> Result<usize> {
        let site = self.sites.len();
        let mut edges = vec![0];
        for (part, (module, outputs)) in modules.iter().enumerate() {
            self.modules.insert(module.clone(), (site, part));
            edges.push(edges[part] + outputs);
        }
        let mut empty = |what: &str| tensors.declare(format!("{name}.{what}"), Dtype::F32, &[1, 1]);
        self.sites.push(Site { a: empty("a")?, b: empty("b")?, inputs, edges, enabled: false });
        Ok(site)
    }

    /// Adds an activation of `cols` columns. It takes no memory until it is enabled.
    pub(super) fn point(&mut self, tensors: &mut Tensors, name: &str, cols: usize) -> Result<usize> {
        let point = self.points.len();
        self.named_points.insert(name.to_owned(), point);
        let gains = tensors.declare(format!("{name}.gains"), Dtype::F32, &[1, 1])?;
        self.points.push(Point { gains, cols, enabled: false });
        Ok(point)
    }

    /// The point of a norm's output, or of the input of the linear map before `.input`.
    pub fn find_point(&self, name: &str) -> Option<usize> {
        self.named_points.get(super::weights::bare(name)).copied()
    }

    /// Site and part of a module, named as in the checkpoint.
    pub fn find(&self, module: &str) -> Option<(usize, usize)> {
        self.modules.get(super::weights::bare(module)).copied()
    }

    /// Names of the modules that adapters can act on, without the base model's prefix.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(String::as_str)
    }

    /// Lets adapters act at these sites and points too, from the next [`reshape`](Self::reshape)
    /// on.
    pub fn enable(
        &mut self,
        sites: impl IntoIterator<Item = usize>,
        points: impl IntoIterator<Item = usize>,
    ) {
        sites.into_iter().for_each(|site| self.sites[site].enabled = true);
        points.into_iter().for_each(|point| self.points[point].enabled = true);
    }

    /// Makes room for `ranks` ranks of `adapters` adapters where they are enabled, and nowhere
    /// else. Everything in the bank is lost, and plans must be made anew.
    pub fn reshape(&mut self, tensors: &mut Tensors, ranks: usize, adapters: usize) -> Result<()> {
        let sized = |enabled: bool, rows: usize, cols: usize| if enabled { [rows, cols] } else { [1, 1] };
        let enabled = self.sites.iter().filter(|site| site.enabled);
        let most = enabled.map(|site| site.parts().max(self.partials)).max().unwrap_or(0);
        tensors.reshape(self.z, &[MAX_ROWS, (most * ranks).max(1)])?;
        for site in &self.sites {
            tensors.reshape(site.a, &sized(site.enabled, site.parts() * ranks, site.inputs))?;
            tensors.reshape(site.b, &sized(site.enabled, ranks + 2 * adapters, site.outputs()))?;
        }
        for point in &self.points {
            tensors.reshape(point.gains, &sized(point.enabled, 2 * adapters, point.cols))?;
        }
        (self.ranks, self.adapters) = (ranks, adapters);
        Ok(())
    }

    /// The two halves of what adapters do at `site`, for plans: `partials` as in [`Shrink`].
    /// `None` if nothing acts there.
    pub(super) fn halves(&self, site: usize, rows: TensorId, partials: usize) -> Option<(Shrink, Delta)> {
        let site = self.sites.get(site).filter(|site| site.enabled)?;
        let edge = |part: usize| site.edges.get(part).copied().unwrap_or(usize::MAX);
        let &Self { mixes, z, ranks, .. } = self;
        let shrink = Shrink { rows, mixes, a: site.a, z, ranks, partials };
        let delta = Delta { rows, mixes, z, b: site.b, ranks, partials, parts: [edge(1), edge(2)] };
        Some((shrink, delta))
    }
}

impl Site {
    /// Projections fused here.
    pub fn parts(&self) -> usize {
        self.edges.len() - 1
    }

    /// (C, F of one part)
    pub fn shape(&self, part: usize) -> [usize; 2] {
        [self.inputs, self.edges[part + 1] - self.edges[part]]
    }

    /// F
    pub fn outputs(&self) -> usize {
        self.edges[self.parts()]
    }
}
