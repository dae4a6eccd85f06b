// attention_grad_kv: dK[pos] += scale · Σ p·(dp − Δ)·s'·q and dV[pos] += Σ p·dy, over the rows that
// see pos and the query heads that share the key head; s' is the slope of the capped score
//
// shapes     rows (N)   q, dy (N, H·D)   stats (N, H), see attention_grad_q
//            k_cache, v_cache, dk_cache, dv_cache (slots, S, K·D)                     f32
// dispatch   (ceil(S / 16), K, slots): a workgroup owns 16 positions of one key head, so that
//            no one else adds there; rows are walked 32 at a time, one query head after another
// accepts    any N, S, D >= 1
// numerics   f32 sums in order of query head, then row; twin in f64
// twin       src/kernels/twin/attention_grad_kv.rs
// reference  arXiv:2205.14135, algorithm 4
// uses       shared/row.wgsl, shared/cap.wgsl, shared/cache_f32.wgsl or another type's

override WORKGROUP_SIZE: u32 = 64u;

const KEYS: u32 = 16u;
const ROWS: u32 = 32u;

struct Params {
    n: u32, q_cols: u32, kv_cols: u32, head_dim: u32, s: u32, scale: f32, cap: f32, window: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(2) var<storage, read> q: array<f32>;              // (N, H·D)
@group(0) @binding(3) var<storage, read> k_cache: array<Key>;        // (slots, S, K·D)
@group(0) @binding(4) var<storage, read> v_cache: array<Value>;      // (slots, S, K·D)
@group(0) @binding(5) var<storage, read> dy: array<f32>;             // (N, H·D)
@group(0) @binding(6) var<storage, read> stats: array<vec2<f32>>;    // (N, H)
@group(0) @binding(7) var<storage, read_write> dk_cache: array<f32>; // (slots, S, K·D)
@group(0) @binding(8) var<storage, read_write> dv_cache: array<f32>; // (slots, S, K·D)

// Of ROWS rows and KEYS keys, four keys a vec4: [row][key / 4].
var<workgroup> p_tile: array<vec4<f32>, 128>;
var<workgroup> ds_tile: array<vec4<f32>, 128>;

// Whether row n sees any of the positions first..=last.
fn sees(n: u32, slot: u32, first: u32, last: u32) -> bool {
    let row = rows[n];
    return row.slot == slot && first <= row.pos && (params.window == 0u || last + params.window > row.pos);
}

// p and scale · p·(dp − Δ)·s' of the query of row n at `column` and the key at `pos` of those from
// `base` on; both 0 where the row does not see it.
fn p_and_ds(n: u32, slot: u32, pos: u32, column: u32, base: u32) -> vec2<f32> {
    if !sees(n, slot, pos, pos) {
        return vec2(0.0);
    }
    let head = n * params.q_cols + column;
    let cell = base + pos * params.kv_cols;
    var score = 0.0;
    var dp = 0.0;
    for (var c = 0u; c < params.head_dim; c++) {
        score += q[head + c] * key_at(cell + c);
        dp += dy[head + c] * value_at(cell + c);
    }
    let stat = stats[head / params.head_dim];
    let capped_score = capped(params.scale * score, params.cap);
    let p = exp(capped_score - stat.x);
    return vec2(p, params.scale * p * (dp - stat.y) * capped_slope(capped_score, params.cap));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn attention_grad_kv(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let d = params.head_dim;
    let first = group.x * KEYS;
    let last = first + KEYS - 1u;
    let slot = group.z;
    cache_slot = slot;
    let base = slot * params.s * params.kv_cols + group.y * d;       // of position 0
    let heads = params.q_cols / params.kv_cols;                      // that share this key head
    for (var step = 0u; step < heads * ((params.n + ROWS - 1u) / ROWS); step++) {
        let n0 = step / heads * ROWS;
        let column = (group.y * heads + step % heads) * d;
        let n_rows = min(ROWS, params.n - n0);
        var any = false;
        for (var r = 0u; r < n_rows; r++) {
            any = any || sees(n0 + r, slot, first, last);
        }
        if any {
            // An invocation makes four keys of one row: a store to one component may touch the others.
            for (var e = i; e < n_rows * KEYS / 4u; e += WORKGROUP_SIZE) {
                let n = n0 + e / (KEYS / 4u);
                let pos = first + 4u * (e % (KEYS / 4u));
                let k0 = p_and_ds(n, slot, pos, column, base);
                let k1 = p_and_ds(n, slot, pos + 1u, column, base);
                let k2 = p_and_ds(n, slot, pos + 2u, column, base);
                let k3 = p_and_ds(n, slot, pos + 3u, column, base);
                p_tile[e] = vec4(k0.x, k1.x, k2.x, k3.x);
                ds_tile[e] = vec4(k0.y, k1.y, k2.y, k3.y);
            }
            workgroupBarrier();
            for (var e = i; e < d * KEYS / 4u; e += WORKGROUP_SIZE) {
                let c = e % d;
                let four = e / d;
                var dk = vec4(0.0);
                var dv = vec4(0.0);
                for (var r = 0u; r < n_rows; r++) {
                    // Rows of no or another sequence may hold anything.
                    if rows[n0 + r].slot == slot {
                        let at = (n0 + r) * params.q_cols + column + c;
                        dk += ds_tile[r * KEYS / 4u + four] * q[at];
                        dv += p_tile[r * KEYS / 4u + four] * dy[at];
                    }
                }
                for (var k = 0u; k < 4u && first + 4u * four + k < params.s; k++) {
                    let cell = base + (first + 4u * four + k) * params.kv_cols + c;
                    dk_cache[cell] += dk[k];
                    dv_cache[cell] += dv[k];
                }
            }
            workgroupBarrier();
        }
    }
}
