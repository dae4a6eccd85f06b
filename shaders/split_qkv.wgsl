// split_qkv: q rotated to q, k rotated and v into the cache at [slot, pos]
//
// shapes     rows (N)   qkv (N, (H + 2K)·D)   rope (S, D) = [cos | sin]
//            q (N, H·D)   k_cache, v_cache (slots, S, K·D)                            f32
// dispatch   (ceil((H + 2K)·D / 2 / WORKGROUP_SIZE), N, 1): one invocation per pair (i, i + D/2)
// accepts    any N >= 1, even D; inactive rows write nothing
// twin       src/kernels/twin/split_qkv.rs
// reference  arXiv:2104.09864, pairs as in transformers' rotate_half
// uses       shared/row.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params { q_cols: u32, kv_cols: u32, head_dim: u32, s: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(2) var<storage, read> qkv: array<f32>;            // (N, (H + 2K)·D)
@group(0) @binding(3) var<storage, read> rope: array<f32>;           // (S, D)
@group(0) @binding(4) var<storage, read_write> q: array<f32>;        // (N, H·D)
@group(0) @binding(5) var<storage, read_write> k_cache: array<f32>;  // (slots, S, K·D)
@group(0) @binding(6) var<storage, read_write> v_cache: array<f32>;  // (slots, S, K·D)

@compute @workgroup_size(WORKGROUP_SIZE)
fn split_qkv(@builtin(global_invocation_id) id: vec3<u32>) {
    let n = id.y;
    let row = rows[n];
    let half = params.head_dim / 2u;
    let cols = params.q_cols + 2u * params.kv_cols;
    if id.x >= cols / 2u || row.slot == INACTIVE {
        return;
    }
    let i = id.x % half;
    let col = id.x / half * params.head_dim + i;
    let a = qkv[n * cols + col];
    let b = qkv[n * cols + col + half];
    let cell = (row.slot * params.s + row.pos) * params.kv_cols;
    if col >= params.q_cols + params.kv_cols {
        let at = cell + col - params.q_cols - params.kv_cols;
        v_cache[at] = a;
        v_cache[at + half] = b;
        return;
    }
    let cos = rope[row.pos * params.head_dim + i];
    let sin = rope[row.pos * params.head_dim + half + i];
    if col < params.q_cols {
        q[n * params.q_cols + col] = a * cos - b * sin;
        q[n * params.q_cols + col + half] = b * cos + a * sin;
    } else {
        let at = cell + col - params.q_cols;
        k_cache[at] = a * cos - b * sin;
        k_cache[at + half] = b * cos + a * sin;
    }
}
