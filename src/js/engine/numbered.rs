//! What JavaScript holds by number: batches, steps of training, temporary adapters.
//! A number is never used twice, so that a stale one finds nothing instead of another's.

use std::cell::{Cell, RefCell};

use crate::error::{Error, Result};

/// Things of one kind, by number: few at a time.
#[derive(Debug)]
pub struct Numbered<T> {
    what: &'static str,
    next: Cell<u32>,
    things: RefCell<Vec<(u32, T)>>,
}

impl<T> Numbered<T> {
    /// None yet; errors call each of them `what`.
    pub fn new(what: &'static str) -> Self {
        Self { what, next: Cell::new(0), things: RefCell::default() }
    }

    /// Keeps a thing, and tells its number.
    pub fn add(&self, thing: T) -> u32 {
        let number = self.next.replace(self.next.get() + 1);
        self.put(number, thing);
        number
    }

    /// Takes a thing out, to be `put` back after use: a call that waits must not hold a borrow.
    ///
    /// Errors with `Argument` if there is none.
    pub fn take(&self, number: u32) -> Result<T> {
        let mut things = self.things.borrow_mut();
        let index = things.iter().position(|(n, _)| *n == number).ok_or_else(|| self.missing(number))?;
        Ok(things.swap_remove(index).1)
    }

    /// Puts back what `take` took.
    pub fn put(&self, number: u32, thing: T) {
        self.things.borrow_mut().push((number, thing));
    }

    /// What `see` makes of a thing.
    ///
    /// Errors with `Argument` if there is none.
    pub fn see<U>(&self, number: u32, see: impl FnOnce(&mut T) -> U) -> Result<U> {
        let mut things = self.things.borrow_mut();
        let held = things.iter_mut().find(|(n, _)| *n == number);
        held.map(|(_, thing)| see(thing)).ok_or_else(|| self.missing(number))
    }

    fn missing(&self, number: u32) -> Error {
        Error::argument(format!("no {} {number}", self.what))
    }
}
