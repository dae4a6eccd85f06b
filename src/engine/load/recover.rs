//! Another device in the place of a lost one: what the host knows is written to it once more.
//!
//! Adapters, the choice of them, texts and what was learned from them are the host's, so no id and
//! no handle changes. What was computed, keys and values above all, is computed anew by whoever
//! needs it next: a [`Generation`](crate::engine::Generation), a [`Step`](crate::engine::Step).

use futures_channel::oneshot;

use crate::error::{Error, Result};
use crate::plan::Tensors;

use crate::engine::plans::{Kind, Plans};
use crate::engine::{Engine, Loader};

impl Engine {
    /// Brings the reason when the device is lost; cancelled if the engine is dropped instead.
    pub fn lost(&self) -> oneshot::Receiver<Error> {
        self.backend.lost()
    }

    /// Frees all memory of the device, which then counts as lost, so that there is room for
    /// [`recover`](Self::recover)'s. Main memory stays.
    pub fn release_device(&mut self) {
        self.plans = Plans::default();
        self.backend.release();
    }

    /// Goes on where it was on the device of `loader`, into which the same model has been loaded
    /// with the same options. Work under way goes on from what the host has of it: a generation
    /// from its tokens, a step of training from its beginning, the trainee from the last step that
    /// ended. Keys and values that were kept although an adapter had changed are computed with it
    /// as it is.
    ///
    /// Errors with `Mismatch` if it is another model, or a part of it is missing; with `Memory` or
    /// `Device` if this device fails too. Then this is to be called once more before anything is
    /// computed.
    pub async fn recover(&mut self, loader: Loader) -> Result<()> {
        let Loader { model, mut backend, .. } = loader;
        model.weights.check_complete()?;
        if model.config != self.model.config || !continues(&self.model.tensors, &model.tensors) {
            return Err(Error::mismatch("the model loaded again is not the one that was lost"));
        }
        backend.reserve(&self.model.tensors).await?;
        backend.allocate(&self.model.tensors)?;
        self.plans = Plans::default();
        self.backend = backend;
        self.device += 1;
        self.rows_of = None;
        self.slots.forget();
        self.write_adapters();
        self.write_cores();
        self.write_mixes();
        self.write_moments();
        self.merge_again().await?;
        self.plans.get(Kind::Decode, 1, &self.model, &mut self.backend)?;
        self.backend.check()
    }
}

/// Whether `all` are the tensors of `base`, in other shapes perhaps, and more.
fn continues(all: &Tensors, base: &Tensors) -> bool {
    let mut all = all.iter().map(|(_, tensor)| (&tensor.name, tensor.dtype));
    base.iter().all(|(_, tensor)| all.next() == Some((&tensor.name, tensor.dtype)))
}
