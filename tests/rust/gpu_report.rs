//! The report on a GPU: that it is whole, and that it tells of a kernel that is wrong. Not how fast anything is.

use std::time::Instant;

use crate::common::gpu_with;
use lorakeet::backend::gpu::GpuOptions;
use lorakeet::backend::gpu::kernels::Kernel;
use lorakeet::bench::{GpuBench, GpuReport, Shape, bench_gpu};
use lorakeet::dtype::Dtype;

/// The smallest report there is; `None` without a GPU.
async fn report(options: &GpuOptions) -> Option<GpuReport> {
    gpu_with(GpuOptions::default()).await?;
    let what = GpuBench { shape: Shape { layers: 1, vocab: 256 }, dtype: Dtype::Q8, runs: 1 };
    let start = Instant::now();
    let mut last = 0.0;
    let mut told = |next: &str, share: f64| {
        assert!(!next.is_empty() && share >= last, "{next} at {share} after {last}");
        last = share;
    };
    let clock = || 1e3 * start.elapsed().as_secs_f64();
    let report = bench_gpu(&what, options, &clock, &mut told).await.expect("a report");
    assert_eq!(last, 1.0);
    Some(report)
}

#[pollster::test]
async fn every_part_is_measured() {
    let Some(report) = report(&GpuOptions::default()).await else { return };
    assert_eq!(report.known_answer, "right");
    let value = |part: &str| {
        let found = report.measures.iter().find(|measure| measure.name.starts_with(part));
        found.unwrap_or_else(|| panic!("no {part} in {:?}", report.measures)).value
    };
    for part in ["launch, needs nothing", "cache", "workgroup memory", "wait", "embed", "sample", "step"] {
        assert!(value(part).is_finite(), "{part}");
    }
    // What takes no time was not done.
    for part in ["memory", "multiply-adds", "prompt of 127", "prompt of 512, adapter", "decode, 8 adapters"] {
        assert!(value(part) > 0.0 && value(part).is_finite(), "{part}: {}", value(part));
    }
    assert!(value("prompt of 512") > value("prompt of 127"), "four times the rows");
    // More keys, more time: what is timed is the kernel.
    let attention = |keys: usize| {
        let is_it = |name: &str| name.starts_with("attention") && name.ends_with(&format!(" at {keys} keys"));
        let found = report.measures.iter().filter(|measure| is_it(&measure.name));
        found.map(|measure| measure.value).sum::<f64>()
    };
    assert!(attention(2048) > attention(128), "{} and {} us", attention(2048), attention(128));
}

fn wrong_embed(kernel: &Kernel) -> String {
    let source = kernel.source();
    if kernel.name != "embed" {
        return source;
    }
    assert!(source.contains("params.scale"), "{source}");
    source.replace("params.scale", "1.5 * params.scale")
}

#[pollster::test]
async fn a_wrong_kernel_is_named() {
    let options = GpuOptions { source: Some(wrong_embed), ..GpuOptions::default() };
    let Some(report) = report(&options).await else { return };
    assert!(report.known_answer.contains("`embed`"), "{}", report.known_answer);
}
