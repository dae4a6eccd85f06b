//! The known answers by which a device's kernels are tried: that they are the twins', that every
//! kernel passes, and that a broken one is named. Not the kernels' own tests, which judge every shape.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;

use crate::common::gpu_with;
use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels};
use lorakeet::backend::gpu::case::Case;
use lorakeet::backend::gpu::fuse::launches;
use lorakeet::backend::gpu::kernels::Kernel;
use lorakeet::backend::gpu::known_answer::{answer, digest, is_right};
use lorakeet::backend::gpu::{Gpu, GpuOptions, ops};
use lorakeet::error::ErrorKind;
use lorakeet::plan::{Dtype, Plan, Tensors};

fn variants() -> impl Iterator<Item = Kernel> {
    ops::kernels()
}

/// The kernel of this name, over the type it has by itself.
fn named(name: &str) -> Kernel {
    variants().find(|kernel| kernel.name == name).unwrap_or_else(|| panic!("no kernel `{name}`"))
}

fn name_of(kernel: &Kernel) -> (&'static str, Dtype) {
    (kernel.name, kernel.dtype)
}

/// Type and digest of each output that the twin makes of a kernel's case.
async fn twin_answer(kernel: &Kernel) -> Vec<(Dtype, [f32; 2])> {
    let mut tensors = Tensors::default();
    let case = Case::of(kernel, &mut tensors);
    let mut twin = Backend::Cpu(Cpu::new(Kernels::Twin));
    twin.allocate(&tensors).expect("small");
    case.contents.iter().for_each(|(id, words)| twin.upload(*id, 0, words));
    let prepared = twin.prepare(&case.plan).expect("a plan");
    twin.run(&prepared, 1);
    let mut digests = Vec::new();
    for id in case.outputs {
        let tensor = tensors.get(id);
        let words = twin.read(id, 0, tensor.words()).await.expect("a result");
        digests.push((tensor.dtype, digest(tensor, &words)));
    }
    digests
}

#[pollster::test]
async fn the_table_is_what_the_twins_compute() {
    let mut table = String::new();
    let mut is_same = true;
    for kernel in variants() {
        let twin = twin_answer(&kernel).await;
        let held = answer(&kernel).unwrap_or_default();
        // Thirty times closer than a device has to be: twins differ by their machine's exp and tanh alone.
        let near = |dtype, got: [f32; 2], want: [f32; 2]| {
            is_right(dtype, got, want) && got.iter().zip(want).all(|(g, w)| (g - w).abs() <= 1e-6 * want[1])
        };
        is_same &= held.len() == twin.len();
        is_same &= twin.iter().zip(held).all(|(&(dtype, got), &want)| near(dtype, got, want));
        let digests: Vec<_> = twin.iter().map(|(_, digest)| digest).collect();
        writeln!(table, "    (\"{}\", Dtype::{:?}, &{digests:?}),", kernel.name, kernel.dtype)
            .expect("a text");
    }
    assert!(is_same, "src/gpu/known_table.rs is to hold\n{table}");
}

/// A case runs the very kernel that it is for, on a device that has it.
#[test]
fn a_case_runs_its_kernel() {
    for kernel in variants() {
        let mut tensors = Tensors::default();
        let case = Case::of(&kernel, &mut tensors);
        let lanes = if kernels_of(false).iter().any(|k| name_of(k) == name_of(&kernel)) { 16 } else { 1 };
        let run = launches(&case.plan, &tensors, lanes);
        let is_run = run.iter().any(|(launch, _)| name_of(&launch.kernel) == name_of(&kernel));
        assert!(is_run, "{:?}", name_of(&kernel));
    }
}

/// Every output element of every case counts: what a kernel leaves as it was is no answer.
#[pollster::test]
async fn an_output_left_alone_is_wrong() {
    for kernel in variants() {
        let mut tensors = Tensors::default();
        let case = Case::of(&kernel, &mut tensors);
        for (id, &want) in case.outputs.iter().zip(answer(&kernel).expect("it is in the table")) {
            let (_, words) = case.contents.iter().find(|(of, _)| of == id).expect("it has contents");
            let tensor = tensors.get(*id);
            assert!(!is_right(tensor.dtype, digest(tensor, words), want), "{}", kernel.name);
        }
    }
}

/// The plans of these kernels' cases, and the tensors they are over.
fn plans(kernels: &[Kernel]) -> (Tensors, Vec<Plan>) {
    let mut tensors = Tensors::default();
    let cases: Vec<Case> = kernels.iter().map(|kernel| Case::of(kernel, &mut tensors)).collect();
    let plans = cases.into_iter().map(|case| case.plan).collect();
    (tensors, plans)
}

fn gpu(backend: &mut Backend) -> &mut Gpu {
    let Backend::Gpu(gpu) = backend else { unreachable!("it was asked for") };
    gpu
}

/// Kernels that a device of so many lanes runs.
fn kernels_of(software: bool) -> Vec<Kernel> {
    // A GPU has this one for heads of odd sizes alone.
    let is_packed_attention = |k: &Kernel| k.name == "attention" && k.dtype != Dtype::F32;
    let other = |k: &Kernel| match software {
        true => {
            let of_gpus = [
                "linear_rows",
                "linear_tile",
                "linear_vec_fused",
                "split_qkv_fused",
                "linear_grad_sum",
                "attention_merge",
            ];
            of_gpus.contains(&k.name)
        }
        false => k.name == "linear_block" || is_packed_attention(k),
    };
    variants().filter(|kernel| !other(kernel)).collect()
}

#[pollster::test]
async fn every_kernel_passes_once_and_is_compiled_once() {
    for software in [false, true] {
        let options = GpuOptions { default_limits: true, software: Some(software), ..GpuOptions::default() };
        let Some(mut backend) = gpu_with(options).await else { return };
        let kernels = kernels_of(software);
        let (tensors, plans) = plans(&kernels);
        let gpu = gpu(&mut backend);
        gpu.allocate(&tensors).expect("small");
        for plan in &plans {
            gpu.record(plan).expect("it compiles");
        }
        let before = gpu.counts();
        let began = std::time::Instant::now();
        gpu.check_kernels(&plans).await.expect("all are right");
        println!("software: {software}, {} kernels: {:?}", kernels.len(), began.elapsed());
        assert_eq!(gpu.verdicts().len(), kernels.len());
        assert!(gpu.verdicts().values().all(|right| *right), "{:?}", gpu.verdicts());
        let tried = gpu.counts();
        assert_eq!((tried.pipelines, tried.reads), (before.pipelines, before.reads + 1));
        gpu.check_kernels(&plans).await.expect("known");
        assert_eq!(gpu.counts(), tried, "a verdict is asked for once");
    }
}

/// A page that comes again compiles at once what it has tried before.
#[pollster::test]
async fn a_kernel_that_is_known_is_compiled_and_not_tried() {
    let kernels = &kernels_of(false)[..4];
    let (tensors, plans) = plans(kernels);
    let mut known = BTreeMap::new();
    for reads in [1, 0] {
        let options = GpuOptions { default_limits: true, software: Some(false), ..GpuOptions::default() };
        let Some(mut backend) = gpu_with(options).await else { return };
        let gpu = gpu(&mut backend);
        gpu.allocate(&tensors).expect("small");
        gpu.trust(known.clone());
        gpu.check_kernels(&plans).await.expect("all are right");
        assert_eq!((gpu.counts().pipelines, gpu.counts().reads), (kernels.len(), reads));
        known = gpu.verdicts().clone();
    }
}

/// What `source` breaks: a kernel's name, what of its text is replaced, and by what.
static BROKEN: Mutex<(&str, &str, &str)> = Mutex::new(("", "", ""));
/// Held while a test uses it.
static BREAKING: Mutex<()> = Mutex::new(());

fn broken_source(kernel: &Kernel) -> String {
    let (name, from, to) = *BROKEN.lock().expect("no test has panicked with it in hand");
    let source = kernel.source();
    if kernel.name != name {
        return source;
    }
    assert!(source.contains(from), "{name}: no `{from}`");
    source.replacen(from, to, 1)
}

/// What `check_kernels` says if one kernel is changed so.
async fn failure_of(
    kernels: &[Kernel],
    broken: (&'static str, &'static str, &'static str),
) -> Option<String> {
    *BROKEN.lock().expect("no test has panicked with it in hand") = broken;
    let options = GpuOptions {
        default_limits: true,
        software: Some(broken.0 == "linear_block"),
        source: Some(broken_source),
        ..GpuOptions::default()
    };
    let mut backend = gpu_with(options).await?;
    let (tensors, plans) = plans(kernels);
    let gpu = gpu(&mut backend);
    gpu.allocate(&tensors).expect("small");
    let error = gpu.check_kernels(&plans).await.expect_err(broken.0);
    assert_eq!(error.kind(), ErrorKind::Device);
    // The verdict stays, and the device goes on.
    assert_eq!(gpu.check_kernels(&plans).await.expect_err("it is known"), error);
    assert!(!gpu.is_lost());
    assert_eq!(gpu.verdicts().values().filter(|right| !**right).count(), 1, "{:?}", gpu.verdicts());
    Some(error.to_string())
}

/// A kernel that is wrong in one place only is named, and no other is.
#[pollster::test]
async fn a_broken_kernel_is_named() {
    let _one = BREAKING.lock();
    let others = [named("embed"), named("sample"), named("activation")];
    for (kernel, from, to) in [
        (named("embed"), "y[n * params.c + c] = value", "y[n * params.c + c] = value + f32(id.x == 70u)"),
        (named("norm"), "params.eps", "0.0"),
        (named("linear_vec"), "c += LANES", "c += 2u * LANES"),
        (named("linear_rows").over(Dtype::Q8), "sums_3 +=", "sums_2 +="),
        (named("linear_block").over(Dtype::Q4), "sums_44 += right * lower", "sums_44 += left * lower"),
        (named("linear_vec_fused"), "x[c] * scale * vector[c]", "x[c] * vector[c]"),
        (named("linear_vec_fused").over(Dtype::Q8), "up_sums += four", "up_sums += x[c]"),
        (named("split_qkv_fused"), "b * cos + a * sin", "b * cos - a * sin"),
        (named("linear"), "sums[a][b]", "sums[a][a]"),
        (named("linear_tile").over(Dtype::F16), "upper.w * right_1", "upper.z * right_1"),
        (named("linear_grad_tile").over(Dtype::Q4), "upper.y * right_0", "upper.x * right_0"),
        (named("linear_grad_sum"), "var sum = vec4(0.0)", "var sum = parts[id.x]"),
        (named("attention"), "total * fade", "total"),
        (named("attention_split"), "total * select(fade_0, fade_1, half == 1u)", "total"),
        (named("attention_split").over(Dtype::Q8), "k += lanes", "k += 2u * lanes"),
        (named("attention_merge"), "exp(max(stat.x - most, -88.0))", "1.0"),
        (named("split_qkv"), "b * cos", "a * cos"),
        (named("activation"), "x[row + params.f + f]", "x[row + f]"),
        (named("sample"), "value > top", "value < top"),
        (named("shrink_grad"), "gamma *", "1.0 *"),
        (named("outer_grad"), "(four ^ (depth % 8u))", "four / 2u"),
        (named("adam_w"), "training.learning_rate", "0.0"),
    ] {
        let mut tried = vec![kernel];
        tried.extend(others.iter().filter(|other| other.name != kernel.name));
        let Some(message) = failure_of(&tried, (kernel.name, from, to)).await else { return };
        let named = format!("kernel `{}` over {} gives wrong numbers", kernel.name, kernel.dtype.name());
        assert!(message.contains(&named), "{message}");
    }
}

/// A store to a component that writes the whole vector, as WGSL permits, is caught where it shows; the
/// same store of the component alone is none.
#[pollster::test]
async fn a_race_is_named() {
    const REST: &str = "query[c / 4u] = vec4(output[at.x], output[at.y], output[at.z], output[at.w]);";
    let _one = BREAKING.lock();
    let alone = "query[c / 4u][c % 4u] = value;";
    let whole = "var four = query[c / 4u]; four[c % 4u] = value; query[c / 4u] = four;";
    let without_rest: fn(&Kernel) -> String = |kernel| {
        let source = broken_source(kernel);
        assert!(source.contains(REST));
        source.replace(REST, "")
    };
    for (store, is_right) in [(alone, true), (whole, false)] {
        *BROKEN.lock().expect("no test has panicked with it in hand") =
            ("attention", "output[c] = value;", store);
        let source = Some(without_rest);
        let options = GpuOptions { default_limits: true, source, ..GpuOptions::default() };
        let Some(mut backend) = gpu_with(options).await else { return };
        let (tensors, plans) = plans(&[named("attention")]);
        let gpu = gpu(&mut backend);
        gpu.allocate(&tensors).expect("small");
        assert_eq!(gpu.check_kernels(&plans).await.is_ok(), is_right, "{store}");
    }
}

/// A kernel that only adapters need is tried when one is loaded: it is taken off, and the base goes on.
#[pollster::test]
async fn an_adapter_whose_kernel_is_broken_is_taken_off() {
    use lorakeet::engine::{EngineOptions, folder};
    let _one = BREAKING.lock();
    *BROKEN.lock().expect("no test has panicked with it in hand") = ("shrink", "dots[j]", "dots[0]");
    let options = GpuOptions {
        default_limits: true,
        software: Some(false),
        source: Some(broken_source),
        ..Default::default()
    };
    let Some(backend) = gpu_with(options).await else { return };
    let home = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let options = EngineOptions { batch: Some(1), ..Default::default() };
    let mut engine = folder::open(&home.join("models/llama"), backend, &options, |_, _| {}).expect("valid");
    engine.check_kernels().await.expect("the base has no use for it");
    let before = engine.logits(&[5, 90, 17]).await.expect("it fits");
    folder::load_adapter(&mut engine, "x", &home.join("adapters/llama/all-linear")).await.expect("valid");
    let error = engine.check_adapter("x").await.expect_err("it is broken");
    assert_eq!(error.kind(), ErrorKind::Device);
    assert!(error.to_string().contains("kernel `shrink` over f32 gives wrong numbers"), "{error}");
    assert_eq!(engine.list_adapters().count(), 0);
    assert_eq!(engine.logits(&[5, 90, 17]).await.expect("it fits"), before);
}
