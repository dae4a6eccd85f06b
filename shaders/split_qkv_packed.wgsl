// split_qkv_packed: split_qkv into a cache whose elements share words
//
// shapes     rows (N)   qkv (N, (H + 2K)·D)   rope (S, E) = [cos | sin]   q (N, H·D)   f32
//            k_cache, v_cache (slots, S, K·D), words of their type
// dispatch   (ceil((H + 2K)·D / UNIT / WORKGROUP_SIZE), N, 1): one invocation for UNIT columns, which
//            are whole words, so that no two write one; parameters as those of split_qkv
// accepts    any N >= 1, even D and E <= D, K·D a multiple of 64; inactive rows write nothing
// twin       src/kernels/twin/split_qkv.rs, then src/kernels/cache.rs
// reference  arXiv:2104.09864, pairs as in transformers' rotate_half
// uses       shared/growth.wgsl, shared/heads.wgsl, shared/row.wgsl, shared/store_f16.wgsl or shared/store_q8.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params {
    q_cols: u32, kv_cols: u32, head_dim: u32, s: u32, rotated: u32, grouped: u32, neighbours: u32, every: u32, beta: f32,
    c: u32, with_bias: u32, normed: u32, eps: f32, // of split_qkv_fused alone
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(2) var<storage, read> qkv: array<f32>;            // (N, (H + 2K)·D)
@group(0) @binding(3) var<storage, read> rope: array<f32>;           // (S, E)
@group(0) @binding(4) var<storage, read_write> q: array<f32>;        // (N, H·D)
@group(0) @binding(5) var<storage, read_write> k_cache: array<u32>;  // (slots, S, K·D)
@group(0) @binding(6) var<storage, read_write> v_cache: array<u32>;  // (slots, S, K·D)

// Column `col` of [q | k | v] of the row of qkv that begins at `line`, rotated if it is one of the first E of a
// head of q or k.
fn column(line: u32, pos: u32, col: u32) -> f32 {
    let d = params.head_dim;
    let c = col % d;
    let at = line + place_of(col / d, params.q_cols / d, params.kv_cols / d, params.grouped) * d + c;
    let x = qkv[at];
    if col >= params.q_cols + params.kv_cols || c >= params.rotated {
        return x;
    }
    let pairs = params.rotated / 2u;
    let beside = params.neighbours != 0u;
    let half = select(pairs, 1u, beside);
    let angle = pos * params.rotated + select(c % pairs, c / 2u, beside);
    let cos = rope[angle];
    let sin = rope[angle + pairs];
    if select(c < pairs, c % 2u == 0u, beside) {
        return x * cos - qkv[at + half] * sin;
    }
    return x * cos + qkv[at - half] * sin;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn split_qkv_packed(@builtin(global_invocation_id) id: vec3<u32>) {
    let n = id.y;
    let row = rows[n];
    let cols = params.q_cols + 2u * params.kv_cols;
    let first = id.x * UNIT;
    if first >= cols || row.slot == INACTIVE {
        return;
    }
    var numbers = array<f32, UNIT>();
    for (var i = 0u; i < UNIT; i++) {
        numbers[i] = column(n * cols, row.pos, first + i);
    }
    if first < params.q_cols {
        let factor = growth_at(row.pos, params.every, params.beta);
        for (var i = 0u; i < UNIT; i++) {
            q[n * params.q_cols + first + i] = factor * numbers[i];
        }
        return;
    }
    let at = row.pos * params.kv_cols + (first - params.q_cols) % params.kv_cols;
    var words = packed(numbers);
    for (var w = 0u; w < WORDS; w++) {
        let place = word_place(row.slot, at, w);
        if first < params.q_cols + params.kv_cols {
            k_cache[place] = words[w];
        } else {
            v_cache[place] = words[w];
        }
    }
}
