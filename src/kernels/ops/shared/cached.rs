//! The keys and values that rows see, widened to f32 where the cache holds them in another type.
//! Caches of f32 are read where they lie.

use std::borrow::Cow;

use super::Call;
use crate::cache::CacheLayout;
use crate::control::{INACTIVE, Row};
use crate::tensor::TensorId;
use crate::twin::attention::visible;
use crate::twin::split_qkv::Heads;

/// A cache as the kernels of main memory read it.
pub(crate) struct Cached<'a> {
    /// The rows, with the slots that they have in `k` and `v`.
    pub(crate) rows: Cow<'a, [Row]>,
    pub(crate) k: Cow<'a, [f32]>,
    pub(crate) v: Cow<'a, [f32]>,
    /// With the S of `k` and `v`.
    pub(crate) heads: Heads,
}

impl<'a> Call<'a> {
    /// The keys and values that rows see, in slots that end where the last of them does; or, if `in_place`,
    /// in slots where they are in the cache.
    pub(crate) fn cached(
        &self,
        rows: TensorId,
        [k_cache, v_cache]: [TensorId; 2],
        heads: Heads,
        window: usize,
        in_place: bool,
    ) -> Cached<'a> {
        let rows = self.rows(rows);
        let layout = CacheLayout::of(self.tensors.get(k_cache));
        if !layout.dtype.is_packed() {
            let (k, v) = (self.f32(k_cache).into(), self.f32(v_cache).into());
            return Cached { rows: rows.into(), k, v, heads };
        }
        let active = || rows.iter().filter(|row| row.slot != INACTIVE);
        let mut slots: Vec<u32> = active().map(|row| row.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        let last = active().map(|row| row.pos as usize + 1).max().unwrap_or(0);
        let s = if in_place { heads.s } else { last };
        let place = |slot: u32| if in_place { Ok(slot as usize) } else { slots.binary_search(&slot) };
        let n = if in_place { slots.last().map_or(0, |&slot| slot as usize + 1) } else { slots.len() };
        let [k, v] = [k_cache, v_cache].map(|id| {
            let mut numbers = vec![0.0; n * s * heads.kv_cols];
            for &slot in &slots {
                let seen = active().filter(|row| row.slot == slot).map(|row| visible(row, window));
                let seen = seen.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or(0..0);
                let first = place(slot).unwrap_or(0) * s;
                let cells = (first + seen.start) * heads.kv_cols..(first + seen.end) * heads.kv_cols;
                layout.widen(self.u32(id), slot as usize, seen, &mut numbers[cells]);
            }
            Cow::Owned(numbers)
        });
        let row = |row: &Row| match place(row.slot) {
            Ok(slot) if row.slot != INACTIVE => Row { slot: slot as u32, ..*row },
            _ => *row,
        };
        Cached { rows: rows.iter().map(row).collect(), k, v, heads: Heads { s, ..heads } }
    }
}
