//! The lines of the tensors with which a host steers plans between runs: who takes part, through which
//! adapters, how tokens are drawn, how parameters move. It knows no op.

/// A row that takes no part in a run: it writes nothing to the cache and draws no token.
pub const INACTIVE: u32 = u32::MAX;

/// A window of [`Attention`](crate::ops::Attention) that rows tell themselves: their `token` is the first key, their
/// `pos` the last.
pub const SPAN: usize = u32::MAX as usize;

/// No row of a [`Replaced`](crate::ops::Replaced), no token drawn.
pub const ABSENT: u32 = u32::MAX;

/// Columns of the `rows (N, 4)` tensor, u32: one line of it tells a token row what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Row {
    /// Token id to embed.
    pub token: u32,
    /// Its position in its sequence.
    pub pos: u32,
    /// The cache slot of its sequence, or [`INACTIVE`].
    pub slot: u32,
    /// The line of `mixes` that names the adapters acting on it; 0 is none.
    pub mix: u32,
}

/// One line of the `targets (S, 2)` tensor, u32: what is to follow the token at a position.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Target {
    /// Token id, or [`INACTIVE`] where nothing is asked.
    pub token: u32,
    /// How much its loss counts beside others; only gradients depend on it.
    pub weight: f32,
}

impl Row {
    /// What is to follow the row's token, if it takes part and something is asked.
    pub(crate) fn target(&self, targets: &[Target]) -> Option<Target> {
        let target = (self.slot != INACTIVE).then(|| targets[self.pos as usize]);
        target.filter(|target| target.token != INACTIVE)
    }
}

/// One line of the `mixes (mixes, 16)` tensor: the blocks of ranks that act on a row. Line 0 is
/// the base and stays empty. Switching an adapter writes one of these, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Mix {
    /// How many of `blocks` count.
    pub n_blocks: u32,
    /// The adapters at work.
    pub blocks: [Block; MAX_BLOCKS],
}

/// Most adapters in one mix.
pub const MAX_BLOCKS: usize = 5;

/// Most ranks of all adapters together: what a [`Block`] can name, in steps of four.
pub const MAX_RANKS: usize = 0xffff - 3;

/// Rows up to which a step counts as one of decoding, and may leave partial sums to the next.
pub const FEW_ROWS: usize = 8;

/// One adapter of a [`Mix`].
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Block {
    /// First rank, and in the upper half the number of ranks.
    pub ranks: u32,
    /// Index of the adapter's gain and shift, see [`Delta`](crate::ops::Delta), and in the upper half whether it
    /// has any.
    pub adapter: u32,
    /// γ
    pub weight: f32,
}

impl Block {
    /// Ranks `first..first + count` of adapter `adapter`, at strength `weight`; `affine` if it
    /// has gains or shifts.
    pub fn new(first: usize, count: usize, adapter: usize, affine: bool, weight: f32) -> Self {
        Self {
            ranks: (first | count << 16) as u32,
            adapter: (adapter | usize::from(affine) << 16) as u32,
            weight,
        }
    }

    /// The adapter's index.
    pub fn index(&self) -> usize {
        self.adapter as usize & 0xffff
    }

    /// The adapter's index, if it has gains or shifts.
    pub fn affine(&self) -> Option<usize> {
        (self.adapter >> 16 != 0).then_some(self.index())
    }

    /// The ranks as a range.
    pub fn range(&self) -> std::ops::Range<usize> {
        let first = self.ranks as usize & 0xffff;
        first..first + (self.ranks as usize >> 16)
    }
}

impl Mix {
    /// The blocks that count.
    pub fn active(&self) -> &[Block] {
        &self.blocks[..self.n_blocks as usize]
    }
}

/// One line of the `sampling (slots, 12)` tensor: how the next token of a slot is drawn.
///
/// The order of the filters and their meaning are those of transformers' logits processors.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Sampling {
    /// 0 takes the most probable token; otherwise logits are divided by it.
    pub temperature: f32,
    /// Keep the smallest set of tokens whose probabilities reach this; 1 keeps all.
    pub top_p: f32,
    /// Drop tokens less probable than this share of the most probable one; 0 keeps all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens already seen; 1 is off.
    pub repetition_penalty: f32,
    /// Keep this many tokens; 0 keeps all.
    pub top_k: u32,
    /// Names the noise: the same seed draws the same tokens on one device.
    pub seed: u32,
    /// How many of `stop` count.
    pub n_stop: u32,
    /// Zero.
    pub padding: u32,
    /// A drawn token in this list makes its row inactive.
    pub stop: [u32; 4],
}

/// Tokens a slot keeps on the device before they are read: `ring (slots, RING)` holds the
/// token of position p at column p mod RING.
pub const RING: usize = 64;

/// The `training (12)` tensor: numbers of the current step that steps of backward plans read.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Training {
    /// Names the noise of dropout.
    pub seed: u32,
    /// Probability p, 0 <= p < 1, of an element to be dropped.
    pub dropout: f32,
    /// Factor on the gradient of each label's loss beside its own weight: 1 / Σ weight where their mean is the loss.
    pub loss_weight: f32,
    /// The gradients are scaled down where their norm exceeds this; 0 never does.
    pub max_norm: f32,
    /// AdamW's learning rate.
    pub learning_rate: f32,
    /// AdamW's decay, times the learning rate, of parameters.
    pub weight_decay: f32,
    /// Added to AdamW's denominator.
    pub eps: f32,
    /// 1 − β of the first and of the second moment.
    pub rates: [f32; 2],
    /// 1 − β₁ᵗ and √(1 − β₂ᵗ) at step t.
    pub corrections: [f32; 2],
    /// Zero.
    pub padding: u32,
}

impl Training {
    /// Sets what depends on the decay rates β of the moments and on the step t, which begins at 1.
    ///
    /// In f64, as PyTorch does: 1 − 0.999 in f32 is off by 1e-5 of itself.
    pub fn set_step(&mut self, betas: [f64; 2], t: u32) {
        self.rates = betas.map(|beta| (1.0 - beta) as f32);
        let [first, second] = betas.map(|beta| 1.0 - beta.powf(f64::from(t)));
        self.corrections = [first as f32, second.sqrt() as f32];
    }
}
