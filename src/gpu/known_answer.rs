//! Whether a device computes rightly: each kernel once, on a few made-up numbers, against the answer
//! that its twin gave. A compiler or a driver may be wrong, and no error tells.
//! It compiles nothing that the model does not use; `known_cases` has the inputs, `known_table` the answers.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::plan::{Dtype, Plan, Tensor, Tensors};

use super::Gpu;
use super::case::Case;
use super::fuse::launches;
use super::kernels::Kernel;
use super::known_table::ANSWERS;
use super::launch::Dispatch;
use super::memory::Scopes;

/// Whether each kernel that was tried is right, by [`name_of`].
pub(crate) type Verdicts = BTreeMap<String, bool>;

/// How far a sum may be off, as a share of the sum of magnitudes: functions of devices are good to a
/// few units in the last place, and one wrong element of some thousands is more.
const TOLERANCE: f32 = 3e-5;

/// An output in two numbers: its elements times small factors, and the magnitudes of these. Those of
/// integers are exact.
///
/// Those of a packed type are widened.
pub fn digest(tensor: &Tensor, words: &[u32]) -> [f32; 2] {
    let dtype = tensor.dtype;
    let mut sums = [0.0f64; 2];
    let mut numbers = Vec::new();
    if dtype.is_packed() {
        numbers.resize(tensor.len(), 0.0f32);
        dtype.unpack(words, tensor.row_len(), &mut numbers);
    }
    let words = if dtype.is_packed() { bytemuck::cast_slice(&numbers) } else { words };
    for (i, &word) in words.iter().enumerate() {
        let value =
            if dtype == Dtype::U32 { f64::from(word % 65_521) } else { f64::from(f32::from_bits(word)) };
        let term = value * [3.0, -1.0, 2.0, 4.0, -3.0, 1.0, -2.0][i % 7];
        sums[0] += term;
        sums[1] += term.abs();
    }
    sums.map(|sum| sum as f32)
}

/// The digests of a kernel's outputs on its [`Case`].
pub fn answer(kernel: &Kernel) -> Option<&'static [[f32; 2]]> {
    let is_it = |entry: &&(&str, Dtype, _)| (entry.0, entry.1) == (kernel.name, kernel.dtype);
    ANSWERS.iter().find(is_it).map(|entry| entry.2)
}

/// Whether digests are those of the answer. NaN is not.
pub fn is_right(dtype: Dtype, got: [f32; 2], want: [f32; 2]) -> bool {
    let most = if dtype == Dtype::U32 { 0.0 } else { TOLERANCE * want[1] };
    got.iter().zip(want).all(|(got, want)| (got - want).abs() <= most)
}

impl Gpu {
    /// What is known of kernels.
    pub fn verdicts(&self) -> &Verdicts {
        &self.verdicts
    }

    /// Takes over what is known of this device from before.
    pub fn trust(&mut self, known: Verdicts) {
        self.verdicts.extend(known);
    }

    /// Tries the kernels of these plans that have no verdict yet, and begins to make the pipelines of the others.
    ///
    /// Errors with `Device`, naming the kernel if one is wrong; or if the device is lost.
    pub async fn check_kernels(&mut self, plans: &[Plan]) -> Result<()> {
        let mut used: BTreeMap<String, Kernel> = BTreeMap::new();
        for plan in plans {
            for (Dispatch { kernel, .. }, _) in launches(plan, &self.tensors, self.lanes) {
                used.entry(self.name_of(&kernel)).or_insert(kernel);
            }
        }
        let unknown = used.iter().filter(|(name, _)| !self.verdicts.contains_key(*name));
        let unknown: Vec<Kernel> = unknown.map(|(_, kernel)| *kernel).collect();
        if !unknown.is_empty() && !self.is_lost() {
            let own = self.tensors.clone();
            let tried = self.try_kernels(&unknown).await;
            self.submit();
            self.places.drain(own.iter().count()..).for_each(|place| place.buffer.destroy());
            self.tensors = own;
            self.verdicts.extend(tried?);
        }
        match used.iter().find(|(name, _)| self.verdicts.get(*name) == Some(&false)) {
            Some((_, Kernel { name, dtype, .. })) => Err(Error::device(format!(
                "WebGPU device: kernel `{name}` over {} gives wrong numbers on this GPU",
                dtype.name()
            ))),
            None => {
                // Those known from before are compiled by a browser while the weights come.
                let scopes = Scopes::told_at_once(&self.shared.device);
                used.values().for_each(|kernel| drop(self.pipeline(kernel)));
                scopes.map_or(Ok(()), Scopes::ready)?;
                self.check()
            }
        }
    }

    /// Runs each on its case, in tensors behind those of the model.
    async fn try_kernels(&mut self, kernels: &[Kernel]) -> Result<Verdicts> {
        let mut tensors: Tensors = self.tensors.clone();
        let cases: Vec<Case> = kernels.iter().map(|kernel| Case::of(kernel, &mut tensors)).collect();
        self.allocate(&tensors)?;
        let mut parts = Vec::new();
        for case in &cases {
            case.contents.iter().for_each(|(id, words)| self.upload(*id, 0, words));
            let recording = self.record(&case.plan)?;
            self.run(&recording, 1);
            parts.extend(case.outputs.iter().map(|&id| (id, 0, tensors.get(id).words())));
        }
        let results = self.read(&parts).await?;
        let mut digests = parts.iter().zip(&results).map(|((id, ..), words)| {
            let tensor = tensors.get(*id);
            (tensor.dtype, digest(tensor, words))
        });
        let verdict = |kernel: &Kernel| {
            let wants = answer(kernel).expect("every kernel is in the table");
            let is_right = |&want: &[f32; 2]| {
                let (dtype, got) = digests.next().expect("one for each output");
                is_right(dtype, got, want)
            };
            // No output may be skipped: the next kernel's come after them.
            let wrong = wants.iter().map(is_right).filter(|right| !right).count();
            (self.name_of(kernel), wrong == 0)
        };
        Ok(kernels.iter().map(verdict).collect())
    }

    /// A kernel as this device runs it.
    fn name_of(&self, kernel: &Kernel) -> String {
        format!("{} {} {}", kernel.name, kernel.dtype.name(), self.lanes)
    }
}
