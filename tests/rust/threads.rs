//! Any number of threads computes the same bits: logits, texts, losses and trained numbers of whole models, and an op
//! that is large enough to be shared as it is for users. That a pool does all of its work, its own tests show.

use crate::common::models::{MODELS, MORE, ModelFiles};
use crate::common::{Fixture, noise};
use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels};
use lorakeet::dtype::Dtype;
use lorakeet::engine::{EngineOptions, NewLora, Optimizer, Request, TrainingRoom, Variant, Window};
use lorakeet::ops::{Linear, Slice};
use lorakeet::plan::{Plan, Tensors};

/// What a model computes, as bits.
#[derive(Debug, PartialEq)]
struct Computed {
    logits: Vec<u32>,
    texts: Vec<Vec<u32>>,
    losses: Vec<u64>,
    trained: Vec<u8>,
}

fn backend(kernels: Kernels, threads: usize) -> Backend {
    let cpu = Cpu::sharing_all(kernels, threads);
    assert_eq!(cpu.threads(), threads);
    Backend::Cpu(cpu)
}

async fn computed(files: &ModelFiles, kernels: Kernels, dtype: Dtype, threads: usize) -> Computed {
    let options = EngineOptions { dtype: Some(dtype), batch: Some(3), ..EngineOptions::default() };
    let mut engine = files.open(backend(kernels, threads), &options).expect(files.name);
    let ids = Fixture::new(files.reference).ids("input_ids");
    let lora = NewLora { variant: Variant::Lora, rank: 6, alpha: 8.0, target_modules: vec![], seed: 3 };
    engine.new_lora("x", &lora).await.expect("a LoRA");
    let on = vec![("x".to_owned(), 1.0)];
    let room = TrainingRoom { window: ids.len(), memory_limit: None };
    engine.begin_training("x", Optimizer::default(), room).await.expect("trainable");
    let mut losses = Vec::new();
    for _ in 0..2 {
        let window = Window::new(ids.clone(), 1);
        losses.push(engine.train_step(vec![window], &on, 1e-2).await.expect("it fits").to_bits());
    }
    engine.end_training().await.expect("it was training");
    let trained = engine.export_adapter("x").await.expect("a LoRA").weights;
    engine.set_adapter(on).expect("loaded");
    let logits = engine.logits(&ids).await.expect("it fits").iter().map(|x| x.to_bits()).collect();
    // Three rows at once, one of them drawn at random.
    let greedy = |n: usize| Request::greedy(ids[..n].to_vec(), 12);
    let sampled = Request { temperature: 1.0, seed: 7, ..greedy(9) };
    let mut generation = engine.start(&[greedy(10), sampled, greedy(5)]).expect("three slots");
    let mut texts = vec![Vec::new(); 3];
    while !generation.is_finished() {
        for delta in engine.next(&mut generation).await.expect("it works") {
            texts[delta.index].extend(delta.tokens);
        }
    }
    engine.end(generation);
    Computed { logits, texts, losses, trained }
}

/// Every family with every kind of arithmetic, all of their work shared.
#[pollster::test]
async fn models_compute_the_same_with_any_number_of_threads() {
    for files in MODELS.iter().chain(MORE) {
        for (kernels, dtype) in [(Kernels::Fast, Dtype::F32), (Kernels::Rounded, Dtype::Q8)] {
            let alone = computed(files, kernels, dtype, 1).await;
            assert!(alone.losses[1] != alone.losses[0], "{}: it learned", files.name);
            for threads in [2, 3, 4] {
                let together = computed(files, kernels, dtype, threads).await;
                assert_eq!(together, alone, "{} as {}, {threads} threads", files.name, dtype.name());
            }
        }
    }
}

/// x · Wᵀ
fn product(mut cpu: Cpu, dtype: Dtype, n: usize) -> Vec<u32> {
    let (c, f) = (512, 700);
    let mut words = Vec::new();
    noise(2, f * c, 1.0).chunks_exact(c).for_each(|row| dtype.pack(row, &mut words));
    let mut tensors = Tensors::default();
    let mut declare = |name, dtype, shape: &[usize]| tensors.declare(name, dtype, shape).expect("small");
    let x = declare("x", Dtype::F32, &[n, c]);
    let weight = declare("w", dtype, &[f, c]);
    let y = declare("y", Dtype::F32, &[n, f]);
    let mut plan = Plan::new(n);
    let slice = Slice { tensor: weight, first: 0 };
    plan.push(&tensors, Linear { x, weight: slice, bias: None, y, accumulate: false, delta: None });
    cpu.allocate(&tensors).expect("small");
    cpu.upload(x, 0, bytemuck::cast_slice(&noise(1, n * c, 1.0)));
    cpu.upload(weight, 0, &words);
    cpu.run(&plan, 3);
    cpu.read(y, 0, n * f)
}

#[test]
fn a_large_op_computes_the_same_with_any_number_of_threads() {
    for (kernels, dtype) in
        [(Kernels::Fast, Dtype::F16), (Kernels::Fast, Dtype::Q8), (Kernels::Rounded, Dtype::Q4)]
    {
        for n in [1, 5, 40] {
            let alone = product(Cpu::new(kernels), dtype, n);
            for threads in [2, 3, 8] {
                let together = product(Cpu::with_threads(kernels, threads), dtype, n);
                assert!(together == alone, "{n} rows of {}, {threads} threads", dtype.name());
            }
        }
    }
}
