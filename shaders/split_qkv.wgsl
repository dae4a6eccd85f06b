// split_qkv: q rotated to q, k rotated and v into the cache at [slot, pos]
//
// shapes     rows (N)   qkv (N, (H + 2K)·D)   rope (S, E) = [cos | sin]
//            q (N, H·D)   k_cache, v_cache (slots, S, K·D)                            f32
// dispatch   (ceil((H + 2K)·D / 2 / WORKGROUP_SIZE), N, 1): one invocation per pair: (i, i + E/2) of the
//            first E elements of a head, which are rotated, neighbours of the others, which pass
//            neighbours: those are rotated too; beta, every: how queries grow with their positions
//            grouped: qkv has, for each of K groups, its H / K heads of q, then k, then v
// accepts    any N >= 1, even D and E <= D; inactive rows write nothing
// twin       src/kernels/twin/split_qkv.rs
// reference  arXiv:2104.09864, pairs as in transformers' rotate_half
// uses       shared/growth.wgsl, shared/heads.wgsl, shared/row.wgsl

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
@group(0) @binding(5) var<storage, read_write> k_cache: array<f32>;  // (slots, S, K·D)
@group(0) @binding(6) var<storage, read_write> v_cache: array<f32>;  // (slots, S, K·D)

@compute @workgroup_size(WORKGROUP_SIZE)
fn split_qkv(@builtin(global_invocation_id) id: vec3<u32>) {
    let n = id.y;
    let row = rows[n];
    let pairs = params.head_dim / 2u;
    let cols = params.q_cols + 2u * params.kv_cols;
    if id.x >= cols / 2u || row.slot == INACTIVE {
        return;
    }
    let i = id.x % pairs;
    let head = id.x / pairs;
    let passes = i >= params.rotated / 2u;
    let beside = passes || params.neighbours != 0u;
    let half = select(params.rotated / 2u, 1u, beside);
    let within = select(i, 2u * i, beside);
    let col = head * params.head_dim + within;
    let place = place_of(head, params.q_cols / params.head_dim, params.kv_cols / params.head_dim, params.grouped);
    let source = n * cols + place * params.head_dim + within;
    let a = qkv[source];
    let b = qkv[source + half];
    let cell = (row.slot * params.s + row.pos) * params.kv_cols;
    if col >= params.q_cols + params.kv_cols {
        let at = cell + col - params.q_cols - params.kv_cols;
        v_cache[at] = a;
        v_cache[at + half] = b;
        return;
    }
    var cos = 1.0;
    var sin = 0.0;
    if !passes {
        cos = rope[row.pos * params.rotated + i];
        sin = rope[row.pos * params.rotated + params.rotated / 2u + i];
    }
    if col < params.q_cols {
        let factor = growth_at(row.pos, params.every, params.beta);
        q[n * params.q_cols + col] = factor * (a * cos - b * sin);
        q[n * params.q_cols + col + half] = factor * (b * cos + a * sin);
    } else {
        let at = cell + col - params.q_cols;
        k_cache[at] = a * cos - b * sin;
        k_cache[at + half] = b * cos + a * sin;
    }
}
