//! What may come next in a text, told from outside: a grammar, a schema. A request under one is drawn on the host.
//! No grammar is known here; end tokens are the generation's own business.

use std::fmt::Debug;

use crate::error::{Error, Result};
use crate::words::words;

/// Whether a text may end where it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// It has to go on: no end token may be drawn.
    #[default]
    Never,
    /// It may: the end tokens are allowed beside those of the mask.
    May,
    /// It has to: nothing more is drawn.
    Must,
}

words!(Ending, "ending", ["never" => Self::Never, "may" => Self::May, "must" => Self::Must]);

/// Decides token by token what a text may be.
pub trait Constraint: Debug {
    /// Sets the bit of each token that may come next: token t is bit t mod 32 of word ⌊t/32⌋ of `mask` (⌈V/32⌉
    /// words, zeros at first). It may be asked again before the next token; the answer is then the same.
    ///
    /// Errors if it cannot tell; the generation ends with that error.
    fn allowed(&mut self, mask: &mut [u32]) -> Result<Ending>;

    /// Takes the token that was drawn. End tokens are not told.
    ///
    /// Errors for a token that its last mask did not have.
    fn accept(&mut self, token: u32) -> Result<()>;

    /// Takes the mask of the next token, where whoever runs the generation decides.
    ///
    /// Errors with `Argument` where the constraint decides itself.
    fn supply(&mut self, _mask: &[u32], _ending: Ending) -> Result<()> {
        Err(Error::argument("a mask for a text whose constraint knows its own"))
    }
}

/// A constraint that lives elsewhere, and supplies the mask of each token before it is drawn.
#[derive(Debug, Default)]
pub struct Supplied {
    next: Option<(Vec<u32>, Ending)>,
}

impl Constraint for Supplied {
    fn allowed(&mut self, mask: &mut [u32]) -> Result<Ending> {
        let Some((given, ending)) = &self.next else {
            return Err(Error::argument("no mask for the next token, expected one before each"));
        };
        if *ending == Ending::Must {
            return Ok(*ending);
        }
        if given.len() != mask.len() {
            let (got, expected) = (given.len(), mask.len());
            return Err(Error::argument(format!(
                "a mask of {got} words, expected {expected}: a bit for each token"
            )));
        }
        mask.copy_from_slice(given);
        Ok(*ending)
    }

    fn accept(&mut self, _: u32) -> Result<()> {
        self.next = None;
        Ok(())
    }

    fn supply(&mut self, mask: &[u32], ending: Ending) -> Result<()> {
        self.next = Some((mask.to_vec(), ending));
        Ok(())
    }
}
