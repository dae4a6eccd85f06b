//! Where two backends part: a plan step by step on both, up to the first step whose outputs differ.
//! Why they differ is for the reader to find.

use lorakeet::backend::Backend;
use lorakeet::engine::Engine;
use lorakeet::plan::{Dtype, Plan, Tensors};

use super::{Tolerance, misfit};

/// Gives a fresh backend what an engine in main memory holds.
pub(crate) fn copy(engine: &Engine, to: &mut Backend) {
    let Backend::Cpu(cpu) = engine.backend() else { panic!("a copy of what is in main memory") };
    let tensors = &engine.model().tensors;
    to.allocate(tensors).expect("as much as there is already");
    for (id, tensor) in tensors.iter() {
        to.upload(id, 0, &cpu.read(id, 0, tensor.words()));
    }
}

/// Runs `plan` on two backends that hold the same. The first step whose outputs differ, which output and
/// how; `None` if none does.
pub(crate) async fn first_difference(
    plan: &Plan,
    tensors: &Tensors,
    [left, right]: [&mut Backend; 2],
    tolerance: Tolerance,
) -> Option<String> {
    for (i, op) in plan.steps().iter().enumerate() {
        let mut step = Plan::new(plan.n());
        step.push(tensors, op.clone());
        for backend in [&mut *left, &mut *right] {
            let step = backend.prepare(&step).expect("a valid kernel");
            backend.run(&step, 1);
        }
        for id in op.writes() {
            let tensor = tensors.get(id);
            let [want, got] = [
                left.read(id, 0, tensor.words()).await.expect("a result"),
                right.read(id, 0, tensor.words()).await.expect("a result"),
            ];
            let misfit = match tensor.dtype {
                Dtype::F32 => misfit(bytemuck::cast_slice(&got), bytemuck::cast_slice(&want), tolerance),
                _ => (got != want).then(|| "integers differ".to_owned()),
            };
            if let Some(misfit) = misfit {
                return Some(format!("step {i} `{}`, output `{}`: {misfit}", op.name(), tensor.name));
            }
        }
    }
    None
}
