//! How tokens are drawn, on every backend, against transformers' probabilities. One body, run natively
//! and in a browser. What a generation does with them is judged elsewhere.

use crate::common::Case;
use crate::common::backends_and_variants as backends;
use crate::common::one_op::{OneOp, fixture};
use lorakeet::backend::Backend;
use lorakeet::ops;
use lorakeet::plan::{ABSENT, INACTIVE, RING, Sampling};
use wasm_bindgen_test::wasm_bindgen_test;

/// How often each token is drawn against transformers' probabilities after its own filters:
/// never one that they remove, and the others within five standard deviations.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn sample() {
    let mut backends = backends().await;
    // Every row is drawn RING times at each of as many seeds.
    const SEEDS: usize = if cfg!(target_arch = "wasm32") { 2 } else { 24 }; // a software GPU in a browser is slow
    let fixture = fixture!("ops/sample");
    for (i, case) in fixture.cases().enumerate() {
        let [b, v] = ["B", "V"].map(|name| case.size(name));
        let (logits, probs) = (case.f32("logits"), case.f32("probs"));
        for (name, backend) in &mut backends {
            let tokens = draw(&case, &logits, [b, v, SEEDS], backend).await;
            let mut counts = vec![0usize; b * v];
            for (at, token) in tokens.iter().enumerate() {
                counts[at / (SEEDS * RING) * v + *token as usize] += 1;
            }
            let draws = (SEEDS * RING) as f32;
            for (at, (&count, &p)) in counts.iter().zip(&probs).enumerate() {
                let spread = 5.0 * (draws * p * (1.0 - p)).sqrt() + 1.0;
                let fits = if p == 0.0 { count == 0 } else { (count as f32 - draws * p).abs() <= spread };
                let (row, token) = (at / v, at % v);
                assert!(
                    fits,
                    "sample case {i} on {name}: row {row} token {token}: {count} of {draws}, p = {p}"
                );
            }
        }
    }
}

/// Tokens drawn for each row of `logits` (B, V), one slot per row and seed -> (B, seeds, RING).
async fn draw(case: &Case<'_>, logits: &[f32], [b, v, seeds]: [usize; 3], backend: &mut Backend) -> Vec<u32> {
    let words = v.div_ceil(32);
    let mut seen = vec![0u32; b * words];
    for (at, _) in case.ids("seen").iter().enumerate().filter(|(_, seen)| **seen != 0) {
        seen[at / v * words + at % v / 32] |= 1 << (at % v % 32);
    }
    let [temperature, top_p, min_p, repetition_penalty] =
        ["temperature", "top_p", "min_p", "repetition_penalty"].map(|name| case.f32(name));
    let top_k = case.ids("top_k");
    let n = b * seeds;
    let sampling: Vec<Sampling> = (0..n)
        .map(|slot| Sampling {
            temperature: temperature[slot / seeds],
            top_p: top_p[slot / seeds],
            min_p: min_p[slot / seeds],
            repetition_penalty: repetition_penalty[slot / seeds],
            top_k: top_k[slot / seeds],
            seed: (slot % seeds) as u32,
            n_stop: 0,
            padding: 0,
            stop: [0; 4],
        })
        .collect();
    let repeat = |rows: &[u32], cols| -> Vec<u32> {
        rows.chunks_exact(cols).flat_map(|row| row.repeat(seeds)).collect()
    };
    let mut one = OneOp::default();
    let logits = repeat(bytemuck::cast_slice(logits), v);
    let logits = one.f32("logits", &[n, v], bytemuck::cast_slice(&logits));
    let options = one.u32("sampling", &[n, 12], bytemuck::cast_slice(&sampling));
    let seen = repeat(&seen, words);
    let seen_id = one.u32("seen", &[n, words], &seen);
    let rows = one.u32("rows", &[n, 4], &vec![0; 4 * n]);
    let ring = one.u32("ring", &[n, RING], &vec![0; n * RING]);
    let plan = one.prepare(backend, ops::Sample { logits, sampling: options, seen: seen_id, rows, ring }, n);
    for pos in 0..RING as u32 {
        let lines: Vec<u32> = (0..n as u32).flat_map(|slot| [0, pos, slot, 0]).collect();
        backend.upload(rows, 0, &lines);
        backend.upload(seen_id, 0, &seen);
        backend.run(&plan, 1);
    }
    backend.read(ring, 0, n * RING).await.expect("a result")
}

/// What `sample` leaves behind: the row moved on, the token noted, a stop token's row inactive.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn sample_moves_its_row_on() {
    let mut backends = backends().await;
    let greedy = Sampling {
        stop: [3, 0, 0, 0],
        n_stop: 1,
        top_p: 1.0,
        repetition_penalty: 1.0,
        ..bytemuck::Zeroable::zeroed()
    };
    for (name, backend) in &mut backends {
        let mut one = OneOp::default();
        let mut logits = vec![0.0; 3 * 40];
        logits[35] = 2.0; // row 0, slot 2
        logits[40 + 3] = 2.0; // row 1, slot 0: its stop token
        logits[80 + 7] = 2.0; // row 2 is inactive
        let logits = one.f32("logits", &[3, 40], &logits);
        let sampling = one.u32("sampling", &[3, 12], bytemuck::cast_slice(&[greedy; 3]));
        let seen = one.u32("seen", &[3, 2], &[0, 0, 0, 0, 1, 0]);
        let lines = [[9, 64, 2, 5], [9, 70, 0, 6], [9, 1, INACTIVE, 7]];
        let rows = one.u32("rows", &[3, 4], lines.as_flattened());
        let ring = one.u32("ring", &[3, RING], &vec![77; 3 * RING]);
        let plan = one.prepare(backend, ops::Sample { logits, sampling, seen, rows, ring }, 3);
        backend.run(&plan, 1);
        let lines = backend.read(rows, 0, 12).await.expect("a result");
        assert_eq!(lines, [35, 65, 2, 5, 3, 71, INACTIVE, 6, 9, 1, INACTIVE, 7], "{name}");
        assert_eq!(backend.read(seen, 0, 6).await.expect("a result"), [1 << 3, 0, 0, 0, 1, 1 << 3], "{name}");
        let mut want = vec![77; 3 * RING];
        want[2 * RING + 1] = 35;
        want[7] = 3;
        assert_eq!(backend.read(ring, 0, 3 * RING).await.expect("a result"), want, "{name}");
    }
}

/// Logits that are no distribution draw nothing, whatever the options; the row says so and stops.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn sample_draws_nothing_from_what_is_not_a_number() {
    let mut backends = backends().await;
    const V: usize = 300; // more than a workgroup
    let nan = f32::NAN;
    let (above, below) = (f32::INFINITY, f32::NEG_INFINITY);
    let with = |at: usize, value: f32| {
        let mut logits: Vec<f32> = (0..V).map(|t| t as f32 / 100.0).collect();
        logits[at] = value;
        logits
    };
    let rows = [
        (vec![nan; V], false),
        (with(0, nan), false),
        (with(V - 1, -nan), false),
        (with(7, above), false),
        (vec![above; V], false),
        (vec![below; V], false),
        (with(9, below), true),
        (with(3, 5.0), true),
    ];
    let n = rows.len();
    let logits: Vec<f32> = rows.iter().flat_map(|(logits, _)| logits).copied().collect();
    for (temperature, top_k, top_p) in [(0.0, 0, 1.0), (1.0, 0, 1.0), (0.7, 5, 0.9)] {
        let options = Sampling {
            temperature,
            top_k,
            top_p,
            repetition_penalty: 1.1,
            seed: 3,
            ..bytemuck::Zeroable::zeroed()
        };
        for (name, backend) in &mut backends {
            let mut one = OneOp::default();
            let logits = one.f32("logits", &[n, V], &logits);
            let sampling = one.u32("sampling", &[n, 12], bytemuck::cast_slice(&vec![options; n]));
            let seen = one.u32("seen", &[n, V.div_ceil(32)], &vec![0; n * V.div_ceil(32)]);
            let lines: Vec<u32> = (0..n as u32).flat_map(|slot| [9, 4, slot, 1]).collect();
            let row_ids = one.u32("rows", &[n, 4], &lines);
            let ring = one.u32("ring", &[n, RING], &vec![77; n * RING]);
            let op = ops::Sample { logits, sampling, seen, rows: row_ids, ring };
            let plan = one.prepare(backend, op, n);
            // A second time finds only the rows that drew.
            backend.run(&plan, 2);
            let lines = backend.read(row_ids, 0, 4 * n).await.expect("a result");
            let ring = backend.read(ring, 0, n * RING).await.expect("a result");
            let seen = backend.read(seen, 0, n * V.div_ceil(32)).await.expect("a result");
            for (row, (_, draws)) in rows.iter().enumerate() {
                let what = format!("row {row} at temperature {temperature} on {name}");
                let ring = &ring[row * RING..][..RING];
                let seen = &seen[row * V.div_ceil(32)..][..V.div_ceil(32)];
                if *draws {
                    assert!(ring[5] < V as u32 && ring[6] < V as u32, "{what}");
                    assert_eq!(lines[4 * row..][..4], [ring[6], 6, row as u32, 1], "{what}");
                    assert_ne!(seen, [0; V.div_ceil(32)], "{what}");
                } else {
                    assert_eq!((ring[5], ring[6]), (ABSENT, 77), "{what}");
                    assert_eq!(lines[4 * row..][..4], [9, 5, INACTIVE, 1], "{what}");
                    assert_eq!(seen, [0; V.div_ceil(32)], "{what}");
                }
            }
        }
    }
}
