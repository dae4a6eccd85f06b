// attention: y = softmax(scale · q · Kᵀ) · V over the row's visible keys, head by head
//
// shapes     rows (N)   q (N, H·D)   k_cache, v_cache (slots, S, K·D)   y (N, H·D)    f32
// dispatch   (H, N, 1): one workgroup per query head and row; keys are walked in tiles of
//            WORKGROUP_SIZE with a running maximum and sum
// accepts    any N, S >= 1, D <= 256; inactive rows write nothing
// numerics   f32, online softmax; twin in f64
// twin       src/backend/cpu/attention.rs
// reference  arXiv:2205.14135 (the running softmax)
// uses       shared/row.wgsl, shared/reduce.wgsl

override WORKGROUP_SIZE: u32 = 64u;

const MAX_HEAD_DIM: u32 = 256u;

struct Params { q_cols: u32, kv_cols: u32, head_dim: u32, s: u32, scale: f32, window: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(2) var<storage, read> q: array<f32>;              // (N, H·D)
@group(0) @binding(3) var<storage, read> k_cache: array<f32>;        // (slots, S, K·D)
@group(0) @binding(4) var<storage, read> v_cache: array<f32>;        // (slots, S, K·D)
@group(0) @binding(5) var<storage, read_write> y: array<f32>;        // (N, H·D)

var<workgroup> query: array<f32, MAX_HEAD_DIM>;                      // (D), scaled
var<workgroup> weights: array<f32, WORKGROUP_SIZE>;                  // of the tile's keys

@compute @workgroup_size(WORKGROUP_SIZE)
fn attention(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let h = group.x;
    let n = group.y;
    let row = rows[n];
    if row.slot == INACTIVE {
        return;
    }
    let d = params.head_dim;
    let head = n * params.q_cols + h * d;
    // Element 0 of this slot's keys, and values, of the head that h shares.
    let base = row.slot * params.s * params.kv_cols + h / (params.q_cols / params.kv_cols) * d;
    for (var c = i; c < d; c += WORKGROUP_SIZE) {
        query[c] = q[head + c] * params.scale;
    }
    let end = row.pos + 1u;
    var begin = 0u;
    if params.window != 0u && end > params.window {
        begin = end - params.window;
    }
    var most = -3.4e38;
    var total = 0.0;
    // Columns i, i + WORKGROUP_SIZE, .. of the output; eight suffice from 32 invocations on.
    var sums = array<f32, 8>();
    workgroupBarrier();
    for (var tile = begin; tile < end; tile += WORKGROUP_SIZE) {
        let pos = tile + i;
        var score = -3.4e38;
        if pos < end {
            score = 0.0;
            let key = base + pos * params.kv_cols;
            for (var c = 0u; c < d; c++) {
                score += query[c] * k_cache[key + c];
            }
        }
        let now = max(most, reduce_max(i, score));
        var weight = 0.0;
        if pos < end {
            weight = exp(score - now);
        }
        let fade = exp(most - now);
        weights[i] = weight;
        total = total * fade + reduce_sum(i, weight); // its barriers publish weights
        most = now;
        let keys = min(WORKGROUP_SIZE, end - tile);
        for (var c = i; c < d; c += WORKGROUP_SIZE) {
            var sum = sums[c / WORKGROUP_SIZE] * fade;
            for (var t = 0u; t < keys; t++) {
                sum += weights[t] * v_cache[base + (tile + t) * params.kv_cols + c];
            }
            sums[c / WORKGROUP_SIZE] = sum;
        }
        workgroupBarrier();
    }
    for (var c = i; c < d; c += WORKGROUP_SIZE) {
        y[head + c] = sums[c / WORKGROUP_SIZE] / total;
    }
}
