//! What JavaScript holds by number: batches, steps of training, temporary adapters.
//! A number is never used twice, so that a stale one finds nothing instead of another's.

use std::cell::{Cell, RefCell};

use crate::error::{Error, Result};

/// Things of one kind, by number: few at a time.
#[derive(Debug)]
pub(crate) struct Numbered<T> {
    what: &'static str,
    next: Cell<u32>,
    /// None in the place of one that is taken out.
    things: RefCell<Vec<(u32, Option<T>)>>,
}

impl<T> Numbered<T> {
    /// None yet; errors call each of them `what`.
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, next: Cell::new(0), things: RefCell::default() }
    }

    /// Keeps a thing, and tells its number.
    pub(crate) fn add(&self, thing: T) -> u32 {
        let number = self.next.replace(self.next.get() + 1);
        self.things.borrow_mut().push((number, Some(thing)));
        number
    }

    /// Takes a thing out, to be `put` back after use: a call that waits must not hold a borrow.
    ///
    /// Errors with `Argument` if there is none, or it is taken out.
    pub(crate) fn take(&self, number: u32) -> Result<T> {
        self.at(number, |held| held.take())?.ok_or_else(|| self.busy(number))
    }

    /// Puts back what `take` took.
    pub(crate) fn put(&self, number: u32, thing: T) {
        // Nothing else can have removed it.
        let _ = self.at(number, |held| *held = Some(thing));
    }

    /// Takes a thing out for good.
    ///
    /// Errors as `take` does.
    pub(crate) fn remove(&self, number: u32) -> Result<T> {
        let thing = self.take(number)?;
        self.things.borrow_mut().retain(|(n, _)| *n != number);
        Ok(thing)
    }

    /// What `see` makes of a thing.
    ///
    /// Errors as `take` does.
    pub(crate) fn see<U>(&self, number: u32, see: impl FnOnce(&mut T) -> U) -> Result<U> {
        self.at(number, |held| held.as_mut().map(see))?.ok_or_else(|| self.busy(number))
    }

    fn at<U>(&self, number: u32, see: impl FnOnce(&mut Option<T>) -> U) -> Result<U> {
        let mut things = self.things.borrow_mut();
        let held = things.iter_mut().find(|(n, _)| *n == number);
        let missing = || Error::argument(format!("no {} {number}", self.what));
        held.map(|(_, held)| see(held)).ok_or_else(missing)
    }

    fn busy(&self, number: u32) -> Error {
        Error::argument(format!("{} {number} is in the middle of another call", self.what))
    }
}
