//! Two tables of a checkpoint that become one: positions, and of token types the first, which every token has.
//! No other row of token types is used: a text has one part.

use super::names::bare;

/// The sum under way, until both tables have come.
#[derive(Debug)]
pub(super) struct TableSum {
    /// Names of the table of positions and of that of token types.
    names: [String; 2],
    /// Numbers of each that have come.
    come: [Vec<f32>; 2],
}

impl TableSum {
    pub(super) fn new(positions: String, token_types: String) -> Self {
        Self { names: [positions, token_types], come: Default::default() }
    }

    /// Whether tensor `name` is one of the two.
    pub(super) fn takes(&self, name: &str) -> bool {
        self.names.iter().any(|own| own == bare(name))
    }

    /// Takes the next numbers of one of them; both have rows of `cols`. Returns the sum (S, C) once `positions`
    /// numbers of positions and a row of token types are there.
    pub(super) fn add(
        &mut self,
        name: &str,
        values: &[f32],
        cols: usize,
        positions: usize,
    ) -> Option<Vec<f32>> {
        let at = usize::from(self.names[0] != bare(name));
        self.come[at].extend_from_slice(values);
        if self.come[0].len() < positions || self.come[1].len() < cols {
            return None;
        }
        let first_type = self.come[1].get(..cols)?.to_vec();
        let mut sum = std::mem::take(&mut self.come[0]);
        for row in sum.chunks_exact_mut(cols) {
            row.iter_mut().zip(&first_type).for_each(|(x, of_type)| *x += of_type);
        }
        Some(sum)
    }
}
