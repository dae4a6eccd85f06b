//! Given chunks that are learned again between generated ones, so that what was given is not forgotten.
//! Not when.

use super::Chunk;
use crate::noise::uniform;

/// How many are kept, each as likely as any other (reservoir sampling, Vitter 1985, algorithm R).
const KEPT: usize = 32;

/// Given chunks: tokens, and the first of them that is learned.
#[derive(Debug, Default)]
pub(super) struct Given {
    chunks: Vec<(Vec<u32>, usize)>,
    /// How many there were.
    seen: usize,
}

impl Given {
    pub(super) fn keep(&mut self, chunk: &Chunk) {
        if chunk.report.labels == 0 {
            return;
        }
        let kept = (chunk.window.clone(), chunk.first);
        let at = (f64::from(uniform(0, self.seen as u32, 0)) * (self.seen + 1) as f64) as usize;
        self.seen += 1;
        if self.chunks.len() < KEPT {
            self.chunks.push(kept);
        } else if let Some(replaced) = self.chunks.get_mut(at) {
            *replaced = kept;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The `turn`th in turns.
    pub(super) fn at(&self, turn: usize) -> (Vec<u32>, usize) {
        self.chunks[turn % self.chunks.len()].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_chunks_some_of_every_part_are_kept() {
        let mut given = Given::default();
        for i in 0..1000 {
            given.keep(&Chunk::new(i, &[], &[i as u32, 1], false));
        }
        assert_eq!(given.chunks.len(), KEPT);
        let firsts: Vec<u32> = (0..KEPT).map(|turn| given.at(turn).0[0]).collect();
        for part in 0..4 {
            let kept = firsts.iter().filter(|&&first| first / 250 == part).count();
            assert!((2..=16).contains(&kept), "{kept} of part {part}: {firsts:?}");
        }
    }
}
