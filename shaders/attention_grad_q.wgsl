// attention_grad_q: dq = scale · Σ p·(dp − Δ)·s'·K over the row's visible keys, head by head, where
// s = capped(scale · q · Kᵀ), s' its slope, p = softmax(s), dp = dy · Vᵀ and Δ = Σ p·dp
//
// shapes     rows (N)   q, dy, dq (N, H·D)   k_cache, v_cache (slots, S, K·D)         f32
//            stats (N, H): the logarithm of the softmax' denominator, and Δ
// dispatch   (H, N, 1): one workgroup per query head and row; a first walk over the keys finds
//            the statistics, a second one in tiles of WORKGROUP_SIZE sums dq
// accepts    any N, S >= 1, D <= 256; inactive rows write nothing
// numerics   f32, a running maximum per invocation; twin in f64
// twin       src/kernels/twin/attention_grad_q.rs
// reference  arXiv:2205.14135, algorithm 4
// uses       shared/row.wgsl, shared/cap.wgsl, shared/reduce.wgsl, shared/cache_f32.wgsl or another type's

override WORKGROUP_SIZE: u32 = 64u;

const MAX_HEAD_DIM: u32 = 256u;

struct Params { q_cols: u32, kv_cols: u32, head_dim: u32, s: u32, scale: f32, cap: f32, window: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(2) var<storage, read> q: array<f32>;              // (N, H·D)
@group(0) @binding(3) var<storage, read> k_cache: array<Key>;        // (slots, S, K·D)
@group(0) @binding(4) var<storage, read> v_cache: array<Value>;      // (slots, S, K·D)
@group(0) @binding(5) var<storage, read> dy: array<f32>;             // (N, H·D)
@group(0) @binding(6) var<storage, read_write> dq: array<f32>;       // (N, H·D)
@group(0) @binding(7) var<storage, read_write> stats: array<vec2<f32>>; // (N, H)

var<workgroup> query: array<f32, MAX_HEAD_DIM>;                      // (D), scaled
var<workgroup> d_out: array<f32, MAX_HEAD_DIM>;                      // (D)
var<workgroup> weights: array<f32, WORKGROUP_SIZE>;                  // of the tile's keys

// The capped score of the key at `cell`, and dp of its value.
fn score_and_dp(cell: u32) -> vec2<f32> {
    var sums = vec2(0.0);
    for (var c = 0u; c < params.head_dim; c++) {
        sums += vec2(query[c] * key_at(cell + c), d_out[c] * value_at(cell + c));
    }
    return vec2(capped(sums.x, params.cap), sums.y);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn attention_grad_q(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let h = group.x;
    let n = group.y;
    let row = rows[n];
    if row.slot == INACTIVE {
        return;
    }
    cache_slot = row.slot;
    let d = params.head_dim;
    let head = n * params.q_cols + h * d;
    // Element 0 of this slot's keys, and values, of the head that h shares.
    let base = row.slot * params.s * params.kv_cols + h / (params.q_cols / params.kv_cols) * d;
    for (var c = i; c < d; c += WORKGROUP_SIZE) {
        query[c] = q[head + c] * params.scale;
        d_out[c] = dy[head + c];
    }
    let end = row.pos + 1u;
    var begin = 0u;
    if params.window != 0u && end > params.window {
        begin = end - params.window;
    }
    workgroupBarrier();
    var most = -3.4e38;
    var total = 0.0;
    var weighted = 0.0;                                              // Σ exp(score − most)·dp
    for (var pos = begin + i; pos < end; pos += WORKGROUP_SIZE) {
        let key = score_and_dp(base + pos * params.kv_cols);
        let now = max(most, key.x);
        let fade = exp(most - now);
        let weight = exp(key.x - now);
        total = total * fade + weight;
        weighted = weighted * fade + weight * key.y;
        most = now;
    }
    let top = reduce_max(i, most);
    let fade = exp(most - top);
    let sum = reduce_sum(i, total * fade);
    let log_sum = top + log(sum);
    let delta = reduce_sum(i, weighted * fade) / sum;
    // Columns i, i + WORKGROUP_SIZE, .. of the output; eight suffice from 32 invocations on.
    var sums = array<f32, 8>();
    for (var tile = begin; tile < end; tile += WORKGROUP_SIZE) {
        if tile + i < end {
            let key = score_and_dp(base + (tile + i) * params.kv_cols);
            weights[i] = exp(key.x - log_sum) * (key.y - delta) * capped_slope(key.x, params.cap);
        }
        workgroupBarrier();
        let keys = min(WORKGROUP_SIZE, end - tile);
        for (var c = i; c < d; c += WORKGROUP_SIZE) {
            var sum_c = sums[c / WORKGROUP_SIZE];
            for (var t = 0u; t < keys; t++) {
                sum_c += weights[t] * key_at(base + (tile + t) * params.kv_cols + c);
            }
            sums[c / WORKGROUP_SIZE] = sum_c;
        }
        workgroupBarrier();
    }
    for (var c = i; c < d; c += WORKGROUP_SIZE) {
        dq[head + c] = params.scale * sums[c / WORKGROUP_SIZE];
    }
    if i == 0u {
        stats[head / d] = vec2(log_sum, delta);
    }
}
