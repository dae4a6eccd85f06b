//! A line of the `mixes` tensor, and the choice of adapters that it is made of.
//! Not which line a choice gets.

use crate::engine::adapters::loaded::MixKey;

/// A choice of adapters, looked up once: what a sequence needs to know of it.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    /// All that act, in the order of their blocks.
    pub(super) key: MixKey,
    /// Under what the cache may remember what is computed: adapters that leave no trace in it are not
    /// part of it.
    pub(crate) cache_key: MixKey,
    /// Ids of the virtual tokens that come before a text.
    pub(crate) lead: Vec<u32>,
}

/// A line of the `mixes` tensor.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub(super) key: MixKey,
    /// Running generations that use it.
    pub(super) users: usize,
    /// When the last of them gave it back, counted.
    pub(super) released: u64,
}
