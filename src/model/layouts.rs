//! Where the ranks of adapters lie in the bank: sites at which the adapters have the same ranks share a
//! layout, so that the bank holds little more than their own numbers. Nothing is written here.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::bank::Bank;
use super::sites::{Layout, MAX_LAYOUTS, PartRanks, Site};

/// Ranks start and end at multiples of this, so that kernels take them four at a time.
const RANK_STEP: usize = 4;

/// Up to so many ranks room doubles, so that it grows seldom; beyond it grows by [`LARGE_STEP`].
const FEW_RANKS: usize = 64;
const LARGE_STEP: usize = 32;

/// Where an adapter acts on linear maps: ranks by site, zeros where it only scales or shifts.
pub(crate) type Demand = BTreeMap<usize, PartRanks>;

/// An adapter's ranks in every layout; none where it does not act.
pub(crate) type Held = Vec<Range<usize>>;

/// Ranks that an adapter of this rank occupies.
pub(crate) fn padded(rank: usize) -> usize {
    rank.next_multiple_of(RANK_STEP)
}

/// Where the ranks of a part of a site lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartRows {
    /// First row of A, and column of z.
    pub(crate) a: usize,
    /// First row of B.
    pub(crate) b: usize,
    /// First row of what A has of the adapter alone, and B.
    pub(crate) own: [usize; 2],
    /// How many.
    pub(crate) count: usize,
}

impl Site {
    /// Blocks of R rows that A has: one for each part, or one for all.
    pub(crate) fn blocks(&self) -> usize {
        if self.stacked { 1 } else { self.parts() }
    }

    /// Ranks that an adapter needs here: as many as its largest part has, or as all have together.
    pub fn needs(&self, parts: &PartRanks) -> usize {
        if self.stacked { parts.iter().sum() } else { parts.iter().copied().max().unwrap_or(0) }
    }

    /// (rows of A, rows of B) that an adapter has here.
    pub(crate) fn own_rows(&self, parts: &PartRanks) -> [usize; 2] {
        let needs = self.needs(parts);
        [self.blocks() * needs, needs]
    }

    /// Whether all parts' ranks take less room one after the other than side by side, if `adapters` are
    /// all there are.
    fn stacks(&self, adapters: &[PartRanks]) -> bool {
        let (c, f) = (self.inputs, self.outputs());
        let sum: usize = adapters.iter().flatten().sum();
        let most: usize = adapters.iter().filter_map(|parts| parts.iter().max()).sum();
        sum * (c + f) < most * (self.parts() * c + f)
    }
}

/// Sites that are to share a layout.
struct Group {
    /// Ranks of each adapter.
    ranks: Vec<usize>,
    sites: Vec<usize>,
    /// Numbers that one rank takes at all of them.
    width: usize,
}

impl Group {
    fn numbers(&self) -> usize {
        self.width * self.ranks.iter().sum::<usize>()
    }

    fn joined(&self, other: &Self) -> Self {
        let ranks = self.ranks.iter().zip(&other.ranks).map(|(a, b)| *a.max(b)).collect();
        let sites = [self.sites.as_slice(), &other.sites].concat();
        Self { ranks, sites, width: self.width + other.width }
    }
}

impl Bank {
    /// Gives each site the layout that suits adapters with these demands, and returns the ranks of each
    /// adapter: the first adapter's come first. Sites in `kept` go on holding the parts' ranks as they do.
    /// The room is made by the next [`reshape`](Self::reshape).
    pub(crate) fn arrange(&mut self, demands: &[Demand], kept: &BTreeSet<usize>) -> Vec<Held> {
        let mut groups: Vec<Group> = Vec::new();
        for (s, site) in self.sites.iter_mut().enumerate() {
            let at: Vec<PartRanks> =
                demands.iter().map(|demand| demand.get(&s).copied().unwrap_or_default()).collect();
            site.enabled = demands.iter().any(|demand| demand.contains_key(&s));
            site.layout = 0;
            if !kept.contains(&s) {
                site.stacked = site.stacks(&at);
            }
            if !site.enabled {
                continue;
            }
            let ranks = at.iter().map(|parts| site.needs(parts)).collect();
            let width = site.blocks() * site.inputs + site.outputs();
            let group = Group { ranks, sites: vec![s], width };
            match groups.iter_mut().find(|there| there.ranks == group.ranks) {
                Some(there) => *there = there.joined(&group),
                None => groups.push(group),
            }
        }
        while groups.len() > MAX_LAYOUTS {
            join_cheapest(&mut groups);
        }
        for (layout, ranks) in
            self.layouts.iter_mut().zip(groups.iter().map(Some).chain(std::iter::repeat(None)))
        {
            layout.ranks = ranks.map_or(0, |group| room_for(group.ranks.iter().sum()));
        }
        for (k, group) in groups.iter().enumerate() {
            group.sites.iter().for_each(|&s| self.sites[s].layout = k);
        }
        self.in_use = groups.len().max(1);
        let held = |i: usize| groups.iter().map(move |group| range_of(&group.ranks, i)).collect();
        let mut all: Vec<Held> = (0..demands.len()).map(held).collect();
        // Adapters without linear maps have a line of `mixes`, too.
        all.iter_mut().filter(|held| held.is_empty()).for_each(|held| held.push(0..0));
        all
    }

    /// The ranks that one more adapter can have beside those held, if there is room.
    pub(crate) fn place<'a>(
        &self,
        demand: &Demand,
        held: impl Iterator<Item = &'a Held> + Clone,
    ) -> Option<Held> {
        let mut needs = vec![0; self.in_use];
        for (&s, parts) in demand {
            let site = &self.sites[s];
            if !site.enabled {
                return None;
            }
            needs[site.layout] = needs[site.layout].max(site.needs(parts));
        }
        let in_layout = |(k, needs): (usize, usize)| {
            let range = free(held.clone().map(|held| &held[k]), needs);
            (range.end <= self.layouts[k].ranks).then_some(range)
        };
        needs.into_iter().enumerate().map(in_layout).collect()
    }

    /// Whether there is room for so many ranks that it is given back when they are not needed.
    pub(crate) fn has_many_ranks(&self) -> bool {
        self.layouts().iter().any(|layout| layout.ranks > FEW_RANKS)
    }

    /// The layouts in use: at least one.
    pub fn layouts(&self) -> &[Layout] {
        &self.layouts[..self.in_use]
    }

    /// The ranks that a site shares with others.
    pub(crate) fn layout(&self, site: &Site) -> Layout {
        self.layouts[site.layout]
    }

    /// Where the ranks of a part lie if those of the adapter begin at `first` in the site's layout.
    pub(crate) fn part_rows(&self, site: &Site, first: usize, parts: &PartRanks, part: usize) -> PartRows {
        let (before, count) = (parts[..part].iter().sum::<usize>(), parts[part]);
        if site.stacked {
            PartRows { a: first + before, b: first + before, own: [before; 2], count }
        } else {
            let own = [part * site.needs(parts), 0];
            PartRows { a: part * self.layout(site).ranks + first, b: first, own, count }
        }
    }
}

/// Joins the two groups whose union takes the fewest numbers more.
fn join_cheapest(groups: &mut Vec<Group>) {
    let pairs = (0..groups.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
    let more = |&(a, b): &(usize, usize)| {
        let [a, b] = [&groups[a], &groups[b]];
        a.joined(b).numbers() - a.numbers() - b.numbers()
    };
    let (a, b) = pairs.min_by_key(more).expect("there are two groups");
    let other = groups.remove(b);
    groups[a] = groups[a].joined(&other);
}

/// Room for ranks where so many are needed.
fn room_for(ranks: usize) -> usize {
    if ranks <= FEW_RANKS {
        ranks.next_power_of_two().max(RANK_STEP)
    } else {
        ranks.next_multiple_of(LARGE_STEP)
    }
}

/// Ranks of the `i`-th adapter, one after the other.
fn range_of(ranks: &[usize], i: usize) -> Range<usize> {
    let first = ranks[..i].iter().sum();
    first..first + ranks[i]
}

/// The lowest range of `len` numbers that is free of the ranges taken.
pub(crate) fn free<'a>(taken: impl Iterator<Item = &'a Range<usize>> + Clone, len: usize) -> Range<usize> {
    let is_free = |start: &usize| {
        taken.clone().all(|range| range.is_empty() || range.end <= *start || *start + len <= range.start)
    };
    // It begins where all do, or where one ends.
    let starts = std::iter::once(0).chain(taken.clone().map(|range| range.end));
    let start = starts.filter(is_free).min().expect("behind the last one is room");
    start..start + len
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Blueprint, Model, Room, Sizes};
    use crate::plan::Dtype;

    /// Qwen2-0.5B's shapes, as published.
    const QWEN2: &str = r#"{
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu",
        "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
        "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151936,
        "max_position_embeddings": 131072, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
        "bos_token_id": 151643, "eos_token_id": 151643, "tie_word_embeddings": true
    }"#;

    fn qwen2() -> Model {
        let config = Blueprint::from_json(QWEN2.as_bytes()).expect("valid");
        let sizes = Sizes {
            context: 8,
            slots: 1,
            max_tensor_bytes: u64::MAX,
            kv_dtype: Dtype::F32,
            dtype: Dtype::F32,
        };
        Model::new(config, sizes).expect("declared only")
    }

    /// An adapter of one rank on the layers' maps that `wanted` picks, and how many numbers it has.
    fn demand(bank: &Bank, rank: usize, wanted: impl Fn(&str) -> bool) -> (Demand, usize) {
        let (mut demand, mut numbers) = (Demand::new(), 0);
        for name in bank.modules().filter(|name| name.starts_with("layers.") && wanted(name)) {
            let (site, part) = bank.find(name).expect("it is listed");
            demand.entry(site).or_default()[part] = padded(rank);
            numbers += rank * bank.sites[site].shape(part).iter().sum::<usize>();
        }
        (demand, numbers)
    }

    /// Bytes of a bank with these adapters, and of their numbers alone.
    fn bytes(adapters: &dyn Fn(&Bank) -> Vec<(Demand, usize)>) -> [u64; 2] {
        let model = qwen2();
        let mut bank = model.bank.clone();
        let (demands, numbers): (Vec<_>, Vec<_>) = adapters(&bank).into_iter().unzip();
        bank.arrange(&demands, &BTreeSet::new());
        let tensors = model.with_bank(&mut bank, Room { adapters: 2, ..Room::default() }).expect("small");
        let all = bank.tensors().iter().map(|&id| tensors.get(id).bytes()).sum();
        [all, 4 * numbers.iter().sum::<usize>() as u64]
    }

    /// One adapter of many ranks on one map does not make every map as large.
    #[test]
    fn a_bank_costs_what_its_adapters_have() {
        let all = |bank: &Bank| demand(bank, 8, |_| true);
        let [bank, own] = bytes(&|bank| vec![all(bank), demand(bank, 256, |name| name.contains("q_proj"))]);
        assert!(own > 60_000_000, "{own}");
        assert!(10 * bank <= 13 * own, "{bank} bytes for {own}");
        for wide in ["k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"] {
            let [bank, own] = bytes(&|bank| vec![all(bank), demand(bank, 256, |name| name.contains(wide))]);
            // B is as wide as all that is fused.
            let most = if wide.starts_with(['o', 'd']) { 13 } else { 20 };
            assert!(10 * bank <= most * own, "{wide}: {bank} bytes for {own}");
        }
    }

    /// Adapters of one rank on all maps share one layout, and parts have the same ranks.
    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "a list of ranges, of one layout")]
    fn adapters_alike_share_a_layout() {
        let mut bank = qwen2().bank;
        let demands = [4, 8].map(|rank| demand(&bank, rank, |_| true).0);
        assert_eq!(bank.arrange(&demands, &BTreeSet::new()), [vec![0..4], vec![4..12]]);
        assert!(bank.sites.iter().all(|site| !site.stacked));
        assert_eq!(bank.layouts().iter().map(|layout| layout.ranks).collect::<Vec<_>>(), [16]);
        let third = demand(&bank, 4, |_| true).0;
        let held = [vec![0..4], vec![4..12]];
        assert_eq!(bank.place(&third, held.iter()), Some(vec![12..16]));
        assert_eq!(bank.place(&third, [vec![4..12]].iter()), Some(vec![0..4]));
        assert_eq!(bank.place(&demand(&bank, 8, |_| true).0, held.iter()), None);
    }

    /// However many ranks there are, there are few layouts, and in each every adapter has what it needs.
    #[test]
    fn the_cheapest_layouts_are_joined() {
        let mut bank = qwen2().bank;
        let of_layer = |name: &str| name.split('.').nth(1).map_or(0, |l| l.parse().unwrap_or(0));
        let varied = |bank: &Bank, step: usize| -> Demand {
            let each = (0..24).map(|l| demand(bank, 4 + l * step % 40, move |name| of_layer(name) == l).0);
            each.flatten().collect()
        };
        let demands = [varied(&bank, 4), varied(&bank, 12), demand(&bank, 8, |n| n.contains("v_proj")).0];
        let held = bank.arrange(&demands, &BTreeSet::new());
        assert_eq!(bank.layouts().len(), MAX_LAYOUTS);
        for (demand, held) in demands.iter().zip(&held) {
            for (&s, parts) in demand {
                let site = &bank.sites[s];
                assert!(site.enabled && held[site.layout].len() >= site.needs(parts));
                assert!(held[site.layout].end <= bank.layout(site).ranks);
            }
        }
        for k in 0..MAX_LAYOUTS {
            let ranges: Vec<_> = held.iter().map(|held| held[k].clone()).collect();
            assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start), "{ranges:?}");
        }
    }

    /// Parts that hold different ranks lie one after the other where that takes less.
    #[test]
    fn parts_of_different_ranks_are_stacked() {
        let mut bank = qwen2().bank;
        let demands = [demand(&bank, 256, |name| name == "layers.0.self_attn.q_proj").0];
        bank.arrange(&demands, &BTreeSet::new());
        let site = &bank.sites[bank.find("layers.0.self_attn.q_proj").expect("a module").0];
        assert!(site.stacked);
        let rows = |part| bank.part_rows(site, 12, &[8, 4, 16], part);
        assert_eq!(rows(0), PartRows { a: 12, b: 12, own: [0, 0], count: 8 });
        assert_eq!(rows(2), PartRows { a: 24, b: 24, own: [12, 12], count: 16 });
        // What is trained stays as it is.
        let kept = demands[0].keys().copied().collect();
        let even = demand(&bank, 8, |_| true).0;
        bank.arrange(&[even], &kept);
        let stacked: Vec<_> = bank.sites.iter().filter(|site| site.stacked).collect();
        assert_eq!(stacked.len(), 1);
        assert_eq!(bank.layout(stacked[0]).ranks, 32, "3 parts of 8");
    }
}
