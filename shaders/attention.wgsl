// attention: y = softmax(capped(scale · q · Kᵀ)) · V over the row's visible keys, head by head, and each
// head's share of z = γ ∘ A·y for adapters that read y
//
// shapes     rows (N)   q (N, H·D)   k_cache, v_cache (slots, S, K·D)   y (N, H·D)
//            mixes (mixes)   a (R, H·D)   z (N, z_cols): H partial sums, R apart      f32
// dispatch   (H, N, 1): one workgroup per query head and row; keys are walked in tiles of
//            WORKGROUP_SIZE with a running maximum and sum
// accepts    any N, S >= 1, D <= 256; inactive rows write nothing
// numerics   f32, online softmax; twin in f64
// twin       src/kernels/twin/attention.rs
// reference  arXiv:2205.14135 (the running softmax)
// uses       shared/reduce.wgsl, shared/window.wgsl, shared/cap.wgsl, shared/mix.wgsl, shared/row.wgsl,
//            shared/cache_f32x4.wgsl or another type's

override WORKGROUP_SIZE: u32 = 64u;

const MAX_HEAD_DIM: u32 = 256u;

struct Params {
    q_cols: u32, kv_cols: u32, head_dim: u32, s: u32, scale: f32, cap: f32, window: u32,
    ranks: u32, z_cols: u32, splits: u32, // ranks 0: no adapters; splits is attention_split's
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(2) var<storage, read> q: array<f32>;              // (N, H·D)
@group(0) @binding(3) var<storage, read> k_cache: array<Key>;        // (slots, S, K·D)
@group(0) @binding(4) var<storage, read> v_cache: array<Value>;      // (slots, S, K·D)
@group(0) @binding(5) var<storage, read> mixes: array<Mix>;          // (mixes)
@group(0) @binding(6) var<storage, read> a: array<vec4<f32>>;        // (R, H·D)
@group(0) @binding(7) var<storage, read_write> y: array<f32>;        // (N, H·D)
@group(0) @binding(8) var<storage, read_write> z: array<f32>;        // (N, z_cols)

var<workgroup> query: array<vec4<f32>, MAX_HEAD_DIM / 4>;            // (D), scaled; at the end the row's y
var<workgroup> output: array<f32, MAX_HEAD_DIM>;                     // (D), the row's y element by element
var<workgroup> weights: array<f32, WORKGROUP_SIZE>;                  // of the tile's keys

// c .. c + 3; past D its last column, which nobody asks for.
fn four_columns(c: u32) -> vec4<u32> {
    return min(vec4(c) + vec4(0u, 1u, 2u, 3u), vec4(params.head_dim - 1u));
}

// query · the D elements of k_cache from `at` on, a multiple of D.
fn dot_key(at: u32) -> f32 {
    var dots = 0.0;
    if params.head_dim % 4u == 0u {
        for (var c = 0u; c < params.head_dim / 4u; c++) {
            dots += dot(query[c], key_four(at + 4u * c));
        }
    } else {
        for (var c = 0u; c < params.head_dim; c++) {
            dots += query[c / 4u][c % 4u] * key_at(at + c);
        }
    }
    return dots;
}

// query · the D elements of a from `at` on, a multiple of D.
fn dot_a(at: u32) -> f32 {
    var dots = 0.0;
    if params.head_dim % 4u == 0u {
        for (var c = 0u; c < params.head_dim / 4u; c++) {
            dots += dot(query[c], a[at / 4u + c]);
        }
    } else {
        for (var c = 0u; c < params.head_dim; c++) {
            dots += query[c / 4u][c % 4u] * a[(at + c) / 4u][(at + c) % 4u];
        }
    }
    return dots;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn attention(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
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
    for (var c = 4u * i; c < d; c += 4u * WORKGROUP_SIZE) {
        let at = vec4(head) + four_columns(c);
        query[c / 4u] = vec4(q[at.x], q[at.y], q[at.z], q[at.w]) * params.scale;
    }
    let end = row.pos + 1u;
    let begin = first_key(row, params.window);
    var most = -3.4e38;
    var total = 0.0;
    // Columns i, i + WORKGROUP_SIZE, .. of the output; eight suffice from 32 invocations on.
    var sums = array<f32, 8>();
    workgroupBarrier();
    for (var tile = begin; tile < end; tile += WORKGROUP_SIZE) {
        let pos = tile + i;
        var score = -3.4e38;
        if pos < end {
            score = capped(dot_key(base + pos * params.kv_cols), params.cap);
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
                sum += weights[t] * value_at(base + (tile + t) * params.kv_cols + c);
            }
            sums[c / WORKGROUP_SIZE] = sum;
        }
        workgroupBarrier();
    }
    for (var c = i; c < d; c += WORKGROUP_SIZE) {
        let value = sums[c / WORKGROUP_SIZE] / total;
        output[c] = value;
        y[head + c] = value;
    }
    if params.ranks == 0u {
        return;
    }
    workgroupBarrier();
    for (var c = 4u * i; c < d; c += 4u * WORKGROUP_SIZE) {
        let at = four_columns(c);
        query[c / 4u] = vec4(output[at.x], output[at.y], output[at.z], output[at.w]);
    }
    workgroupBarrier();
    for (var k = 0u; k < mixes[row.mix].n_blocks; k++) {
        let block = mixes[row.mix].blocks[k];
        for (var r = first_rank(block) + i; r < end_rank(block); r += WORKGROUP_SIZE) {
            z[n * params.z_cols + h * params.ranks + r] = dot_a(r * params.q_cols + h * d) * block.weight;
        }
    }
}
