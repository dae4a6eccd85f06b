//! A number by which contents are told apart, made at the speed at which they are read.
//! Against damage and mix-ups, not against forgery: who wants two contents of one number finds them.

/// Odd, so that no product loses what was multiplied: 2⁶⁴ over the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// A digest whose content is still arriving: p = (s ⊕ x) · f, s ← (p ⊕ ⌊p / 2³²⌋) · f for each 64 bits x, so that a
/// change of one x alone always shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest(u64);

impl Digest {
    /// Of nothing yet, but of this purpose: contents of different purposes have different numbers.
    pub(crate) fn of(purpose: &str) -> Self {
        let mut digest = Self(FACTOR);
        digest.add_bytes(purpose.as_bytes());
        digest
    }

    /// Takes a number.
    pub(crate) fn add(&mut self, number: u64) {
        let product = (self.0 ^ number).wrapping_mul(FACTOR);
        self.0 = (product ^ product >> 32).wrapping_mul(FACTOR);
    }

    /// Takes words, and how many they are.
    pub(crate) fn add_words(&mut self, words: &[u32]) {
        self.add(words.len() as u64);
        let pairs = words.chunks_exact(2);
        let last = pairs.remainder();
        pairs.for_each(|pair| self.add(u64::from(pair[0]) | u64::from(pair[1]) << 32));
        last.iter().for_each(|&word| self.add(word.into()));
    }

    /// Takes bytes, and how many they are.
    pub(crate) fn add_bytes(&mut self, bytes: &[u8]) {
        self.add(bytes.len() as u64);
        for eight in bytes.chunks(8) {
            let mut number = [0; 8];
            number[..eight.len()].copy_from_slice(eight);
            self.add(u64::from_le_bytes(number));
        }
    }

    /// Takes numbers by their bits, and how many they are.
    pub(crate) fn add_floats(&mut self, numbers: &[f32]) {
        self.add_words(bytemuck::cast_slice(numbers));
    }

    /// The number, every bit of which depends on all of the content (MurmurHash3's last step).
    pub(crate) fn number(self) -> u64 {
        let mut number = self.0;
        for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
            number = (number ^ number >> 33).wrapping_mul(factor);
        }
        number ^ number >> 33
    }

    /// The number in 16 hexadecimal digits, as files name it.
    pub(crate) fn hex(self) -> String {
        format!("{:016x}", self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    fn of(words: &[u32]) -> u64 {
        let mut digest = Digest::of("a test");
        digest.add_words(words);
        digest.number()
    }

    #[test]
    fn what_differs_in_a_bit_or_two_has_another_number() {
        let words: Vec<u32> = (0..9).map(|i| 0x3f80_0000 + 77 * i).collect();
        let mut seen = std::collections::BTreeSet::from([of(&words), of(&words[..8])]);
        let bits = 32 * words.len();
        for (a, b) in (0..bits).flat_map(|a| (a..bits).map(move |b| (a, b))) {
            let mut changed = words.clone();
            changed[a / 32] ^= 1 << (a % 32);
            if b > a {
                changed[b / 32] ^= 1 << (b % 32);
            }
            assert!(seen.insert(of(&changed)), "bits {a} and {b}");
        }
        let [mut one, mut other] = ["a purpose", "another"].map(Digest::of);
        [&mut one, &mut other].into_iter().for_each(|digest| digest.add_bytes(b"nine bytes"));
        assert_ne!(one.hex(), other.hex());
    }
}
