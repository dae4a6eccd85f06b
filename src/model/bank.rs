//! The adapter bank's tensors: at each linear map room for the ranks of the adapters that act there.
//! Which ranks are whose is `layouts`' business, which adapters there are the engine's.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Result;
use crate::ops::{self, Delta, DownProjection};
use crate::plan::{Dtype, Mix, TensorId, Tensors};

use super::MAX_ROWS;
use super::blueprint::Blueprint;
use super::names::bare;
use super::sites::{Layout, MAX_LAYOUTS, Part, Point, Site, Span};
use super::tables::{Room, Table, Tables};

/// Lines of the `mixes` tensor: combinations of adapters in use at one time, and the base.
pub(crate) const MIXES: usize = 64;

/// An arena takes no more, whatever can be bound: it is made in one piece.
const MOST_ARENA_BYTES: u64 = 128 << 20;

const MIX_WORDS: usize = size_of::<Mix>() / 4;

/// The bank.
#[derive(Clone, Debug)]
pub struct Bank {
    /// Those in use come first.
    pub(super) layouts: [Layout; MAX_LAYOUTS],
    pub(super) in_use: usize,
    /// (MAX_ROWS, most parts·partials·R)
    z: TensorId,
    /// The most partial sums of one z: the heads of an attention.
    partials: usize,
    /// Most words of an arena.
    most_words: usize,
    /// What there is room for.
    pub(crate) room: Room,
    /// Every linear map, and the embedding, whose input is a one among V zeros.
    pub sites: Vec<Site>,
    /// Rows of embedding and head.
    pub(crate) tables: Tables,
    /// The site of the embedding.
    pub(crate) embed: usize,
    /// Every activation adapters can act on.
    pub(crate) points: Vec<Point>,
    /// Site and part of a module, by its checkpoint name without prefix.
    modules: BTreeMap<String, (usize, usize)>,
    /// Points by the norm's name, or the linear map's and `.input`.
    named_points: BTreeMap<String, Span>,
}

impl Bank {
    pub(super) fn declare(tensors: &mut Tensors, config: &Blueprint, max_tensor_bytes: u64) -> Result<Self> {
        let (v, c) = (config.vocab_size, config.hidden_size);
        Ok(Self {
            layouts: declare_layouts(tensors)?,
            in_use: 1,
            z: tensors.declare("z", Dtype::F32, &[MAX_ROWS, 1])?,
            partials: config.num_attention_heads,
            most_words: max_tensor_bytes.min(MOST_ARENA_BYTES) as usize / 4,
            room: Room::default(),
            tables: Tables::declare(tensors, v, c)?,
            embed: 0,
            sites: Vec::new(),
            points: Vec::new(),
            modules: BTreeMap::new(),
            named_points: BTreeMap::new(),
        })
    }

    /// Adds a linear map of `inputs` columns whose outputs are those of `parts`, one after the other. It
    /// takes no memory until it is enabled.
    pub(super) fn site(
        &mut self,
        tensors: &mut Tensors,
        name: &str,
        inputs: usize,
        parts: &[Part],
    ) -> Result<usize> {
        let site = self.sites.len();
        let mut edges = vec![0];
        for (part, Part { module, outputs, .. }) in parts.iter().enumerate() {
            self.modules.insert(module.clone(), (site, part));
            edges.push(edges[part] + outputs);
        }
        let mut empty = |what: &str| tensors.declare(format!("{name}.{what}"), Dtype::F32, &[1, 1]);
        let (a, b) = (empty("a")?, empty("b")?);
        let feeds_cache = parts.iter().map(|part| part.feeds_cache).collect();
        let (enabled, stacked, layout, arena) = (false, false, 0, 0);
        self.sites.push(Site { a, b, inputs, edges, feeds_cache, enabled, stacked, layout, arena });
        Ok(site)
    }

    /// Adds an activation of `cols` columns, and says whether it feeds the cache. It takes no memory
    /// until it is enabled.
    pub(super) fn point(
        &mut self,
        tensors: &mut Tensors,
        name: &str,
        cols: usize,
        feeds_cache: bool,
    ) -> Result<usize> {
        let span = Span { point: 0, first: 0, cols, repeats: 1, feeds_cache };
        self.point_of(tensors, name, cols, [(name, span)])
    }

    /// Adds one that several norms make, side by side; returns which of [`points`](Self::points) it is.
    pub(super) fn point_of<'n>(
        &mut self,
        tensors: &mut Tensors,
        name: &str,
        cols: usize,
        spans: impl IntoIterator<Item = (&'n str, Span)>,
    ) -> Result<usize> {
        let point = self.points.len();
        for (name, span) in spans {
            self.named_points.insert(name.to_owned(), Span { point, ..span });
        }
        let gains = tensors.declare(format!("{name}.gains"), Dtype::F32, &[1, 1])?;
        self.points.push(Point { gains, cols, enabled: false });
        Ok(point)
    }

    /// Where a norm's output is, or the input of the linear map before `.input`.
    pub(crate) fn find_point(&self, name: &str) -> Option<Span> {
        self.named_points.get(bare(name)).copied()
    }

    /// Site and part of a module, named as in the checkpoint.
    pub fn find(&self, module: &str) -> Option<(usize, usize)> {
        self.modules.get(bare(module)).copied()
    }

    /// Names of the modules that adapters can act on, without the base model's prefix.
    pub(crate) fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(String::as_str)
    }

    /// Lets adapters act at these points too, from the next [`reshape`](Self::reshape) on.
    pub(crate) fn enable(&mut self, points: impl IntoIterator<Item = usize>) {
        points.into_iter().for_each(|point| self.points[point].enabled = true);
    }

    /// Whether adapters may act on more activations and tables than in `before`.
    pub(crate) fn has_more_than(&self, before: &Self) -> bool {
        let points = self.points.iter().zip(&before.points).any(|(now, then)| now.enabled != then.enabled);
        points || Table::ALL.iter().any(|&t| self.tables.map(t) != before.tables.map(t))
    }

    /// Whether cached keys and values depend on the output of this part of a site.
    pub(crate) fn site_feeds_cache(&self, site: usize, part: usize) -> bool {
        self.sites[site].feeds_cache[part]
    }

    /// Makes room where adapters are enabled, and nowhere else. Everything in the bank is lost,
    /// and plans must be made anew.
    pub(crate) fn reshape(&mut self, tensors: &mut Tensors, room: Room) -> Result<()> {
        let adapters = room.adapters;
        let sized = |enabled: bool, rows: usize, cols: usize| if enabled { [rows, cols] } else { [1, 1] };
        for (k, layout) in self.layouts.iter().enumerate() {
            let lines = if k < self.in_use { MIXES } else { 1 };
            tensors.reshape(layout.mixes, &[lines, MIX_WORDS])?;
        }
        let columns = self.most_ranks(|site| site.blocks().max(self.partials));
        tensors.reshape(self.z, &[MAX_ROWS, columns.max(1)])?;
        for site in &self.sites {
            let ranks = self.layout(site).ranks;
            tensors.reshape(site.a, &sized(site.enabled, site.blocks() * ranks, site.inputs))?;
            tensors.reshape(site.b, &sized(site.enabled, ranks + 2 * adapters, site.outputs()))?;
        }
        self.share(tensors);
        for point in &self.points {
            tensors.reshape(point.gains, &sized(point.enabled, 2 * adapters, point.cols))?;
        }
        self.tables.reshape(tensors, room)?;
        self.room = room;
        Ok(())
    }

    /// Puts A and B of all sites into as few arenas as can be bound, so that one step can train them all; those of one
    /// site are together, unless they alone are too large.
    pub(super) fn share(&mut self, tensors: &mut Tensors) {
        let (mut arena, mut held) = (0, 0);
        for site in &mut self.sites {
            let both = [site.a, site.b];
            let whole: usize = both.iter().map(|&tensor| tensors.arena_words(tensor)).sum();
            for (i, tensor) in both.into_iter().enumerate() {
                let own = tensors.arena_words(tensor);
                let wanted = if i == 0 { whole } else { own };
                if held > 0 && held + wanted > self.most_words {
                    (arena, held) = (arena + 1, 0);
                }
                if i == 0 {
                    site.arena = arena;
                }
                held += own;
                tensors.put(tensor, arena);
            }
        }
    }

    /// The most columns of z that a site needs if it needs so many for each of its ranks.
    pub(super) fn most_ranks(&self, columns: impl Fn(&Site) -> usize) -> usize {
        let enabled = self.sites.iter().filter(|site| site.enabled);
        enabled.map(|site| columns(site) * self.layout(site).ranks).max().unwrap_or(0)
    }

    /// Every tensor of the bank.
    pub(super) fn tensors(&self) -> BTreeSet<TensorId> {
        let sites = self.sites.iter().flat_map(|site| [site.a, site.b]);
        let points = self.points.iter().map(|point| point.gains);
        sites
            .chain(points)
            .chain(self.tables.tensors())
            .chain(self.layouts.iter().map(|layout| layout.mixes))
            .chain([self.z])
            .collect()
    }

    /// The two halves of what adapters do at `site`, for plans: `partials` as in [`Shrink`].
    /// `None` if nothing acts there.
    pub(super) fn halves(
        &self,
        site: usize,
        rows: TensorId,
        partials: usize,
    ) -> Option<(DownProjection, Delta)> {
        let site = self.sites.get(site).filter(|site| site.enabled)?;
        let edge =
            |part: usize| site.edges.get(part).filter(|_| !site.stacked).copied().unwrap_or(usize::MAX);
        let (Layout { mixes, ranks }, z) = (self.layout(site), self.z);
        let shrink = DownProjection { rows, mixes, a: site.a, z, ranks, partials };
        let delta = Delta { rows, mixes, z, b: site.b, ranks, partials, parts: [edge(1), edge(2)] };
        Some((shrink, delta))
    }
}

impl Bank {
    /// The `mixes` of what has no ranks.
    pub(super) fn mixes(&self) -> TensorId {
        self.layouts[0].mixes
    }

    /// What adapters do to an embedding y; `None` if nothing acts there.
    pub(super) fn embed_delta(&self, rows: TensorId, scale: f32, y: TensorId) -> Option<ops::EmbedDelta> {
        let site = &self.sites[self.embed];
        let replaced = self.tables.replaced(Table::Embed);
        let Layout { mixes, ranks } = self.layout(site);
        let ranks = if site.enabled { ranks } else { 0 };
        let acts = site.enabled || replaced.is_some();
        let op = ops::EmbedDelta { rows, mixes, a: site.a, b: site.b, ranks, replaced, scale, y };
        acts.then_some(op)
    }

    /// What replaced rows do to logits; `None` if there are none.
    pub(super) fn head_delta(&self, rows: TensorId, x: TensorId, logits: TensorId) -> Option<ops::HeadDelta> {
        let replaced = self.tables.replaced(Table::Head)?;
        Some(ops::HeadDelta { rows, mixes: self.mixes(), x, replaced, logits })
    }
}

fn declare_layouts(tensors: &mut Tensors) -> Result<[Layout; MAX_LAYOUTS]> {
    let mut layouts = Vec::new();
    for k in 0..MAX_LAYOUTS {
        let lines = if k == 0 { MIXES } else { 1 };
        let mixes = tensors.declare(format!("mixes.{k}"), Dtype::U32, &[lines, MIX_WORDS])?;
        layouts.push(Layout { mixes, ranks: 0 });
    }
    Ok(layouts.try_into().expect("as many as there are"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::model::{Blueprint, Model, Sizes};
    use crate::plan::Dtype;

    /// Modules and activations, each with whether it feeds the cache.
    fn answers(config: &[u8]) -> BTreeSet<(String, bool)> {
        let config = Blueprint::from_json(config).expect("valid");
        let sizes = Sizes {
            context: 8,
            slots: 1,
            max_tensor_bytes: u64::MAX,
            kv_dtype: Dtype::F32,
            dtype: Dtype::F32,
        };
        let bank = Model::new(config, sizes).expect("small").bank;
        let sites =
            bank.modules.iter().map(|(name, &(site, part))| (name, bank.site_feeds_cache(site, part)));
        let points = bank.named_points.iter().map(|(name, span)| (name, span.feeds_cache));
        sites.chain(points).map(|(name, feeds)| (name.clone(), feeds)).collect()
    }

    /// `all` in every layer: each feeds the cache, in the last layer only those `of_last`.
    fn of_layers(layers: usize, prefix: &str, all: &[&str], of_last: &[&str]) -> BTreeSet<(String, bool)> {
        let of = |l: usize| all.iter().map(move |name| (l, *name));
        let names = (0..layers).flat_map(of);
        let answer = |(l, name): (usize, &str)| {
            (format!("{prefix}.{l}.{name}"), l + 1 < layers || of_last.contains(&name))
        };
        names.map(answer).collect()
    }

    #[test]
    fn every_site_says_whether_it_feeds_the_cache() {
        let all = [
            "input_layernorm",
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.o_proj.input",
            "self_attn.o_proj",
            "post_attention_layernorm",
            "mlp.gate_proj",
            "mlp.up_proj",
            "mlp.down_proj.input",
            "mlp.down_proj",
        ];
        let of_last = ["input_layernorm", "self_attn.k_proj", "self_attn.v_proj"];
        let mut want = of_layers(3, "layers", &all, &of_last);
        want.extend([("embed_tokens", true), ("norm", false), ("lm_head", false)].map(named));
        assert_eq!(answers(include_bytes!("../../tests/fixtures/models/llama/config.json")), want);
    }

    /// One checkpoint tensor for q, k and v counts as all three.
    #[test]
    fn a_fused_projection_feeds_the_cache() {
        let all = [
            "ln_1",
            "attn.c_attn",
            "attn.c_proj.input",
            "attn.c_proj",
            "ln_2",
            "mlp.c_fc",
            "mlp.c_proj.input",
            "mlp.c_proj",
        ];
        let mut want = of_layers(2, "h", &all, &["ln_1", "attn.c_attn"]);
        want.extend([("wte", true), ("ln_f", false), ("lm_head", false)].map(named));
        assert_eq!(answers(include_bytes!("../../tests/fixtures/models/gpt2/config.json")), want);
    }

    fn named((name, feeds): (&str, bool)) -> (String, bool) {
        (name.to_owned(), feeds)
    }
}
