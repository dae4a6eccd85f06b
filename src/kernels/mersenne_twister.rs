//! PyTorch's random numbers on CPUs, for what PEFT leaves to a seed.
//! Not a source of randomness: the same seed gives the same numbers, PyTorch's bit for bit.

/// Words of state.
const N: usize = 624;

/// MT19937 (Matsumoto and Nishimura, 1998), PyTorch's generator on CPUs.
pub struct MersenneTwister {
    state: [u32; N],
    /// Words of this state that are used up.
    used: usize,
}

impl MersenneTwister {
    /// `torch.manual_seed(seed)`; only the low half of a seed counts.
    pub fn new(seed: u32) -> Self {
        let mut state = [seed; N];
        let mut last = seed;
        for (word, i) in state.iter_mut().zip(0..).skip(1) {
            last = (last ^ (last >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i);
            *word = last;
        }
        Self { state, used: N }
    }

    /// All words anew, each from itself, the one after it and the one 397 after it.
    fn twist(&mut self) {
        for i in 0..N {
            let word = |i: usize| self.state.get(i % N).copied().unwrap_or_default();
            let y = (word(i) & 0x8000_0000) | (word(i + 1) & 0x7fff_ffff);
            let new = word(i + 397) ^ (y >> 1) ^ if y & 1 == 1 { 0x9908_b0df } else { 0 };
            if let Some(word) = self.state.get_mut(i) {
                *word = new;
            }
        }
        self.used = 0;
    }

    fn next(&mut self) -> u32 {
        if self.used >= N {
            self.twist();
        }
        let mut y = self.state.get(self.used).copied().unwrap_or_default();
        self.used += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// A number in [0, 1) of 24 random bits, as PyTorch draws an f32.
    pub fn uniform(&mut self) -> f32 {
        (self.next() & 0x00ff_ffff) as f32 / 16_777_216.0
    }

    /// Passes over `n` numbers, drawn elsewhere.
    pub fn skip(&mut self, n: usize) {
        for _ in 0..n {
            self.next();
        }
    }
}
