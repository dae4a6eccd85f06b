// attention_split: attention over a part of a row's visible keys, for all query heads that share a key head,
// so that keys and values are read once for all of them
//
// shapes     rows (N)   q (N, H·D)   k_cache, v_cache (slots, S, K·D)                 f32
//            out (N, H, splits, D + 4): Σ exp(s − m)·v, then m, the largest score s, and Σ exp(s − m);
//            or, where splits is 1, y (N, H·D)
// dispatch   (K · ceil(H / K / 8) · splits, N, 1): a workgroup serves up to eight query heads of a group.
//            Tiles of 32 keys are dealt out to the splits in turn: what a row sums in which order depends on
//            its own keys alone. A split without keys writes nothing
// accepts    any N, S >= 1; D <= 256, a multiple of four; inactive rows write nothing
// numerics   f32, online softmax; twin in f64
// twin       src/kernels/twin/attention.rs
// reference  arXiv:2205.14135 (the running softmax), arXiv:2311.01282 (keys in parts)
// uses       shared/window.wgsl, shared/cap.wgsl, shared/row.wgsl, shared/cache_fours.wgsl or another type's

override WORKGROUP_SIZE: u32 = 64u;

const KEYS: u32 = 32u;                                               // of a tile
const HEADS: u32 = 8u;                                               // of a workgroup
const FOURS: u32 = 16u;                                              // of columns in workgroup memory at a time
const PITCH: u32 = 17u;                                              // fours from key to key: meets every bank

struct Params {
    q_cols: u32, kv_cols: u32, head_dim: u32, s: u32, scale: f32, cap: f32, window: u32,
    ranks: u32, z_cols: u32, splits: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(2) var<storage, read> q: array<vec4<f32>>;        // (N, H·D)
@group(0) @binding(3) var<storage, read> k_cache: array<Key>;        // (slots, S, K·D)
@group(0) @binding(4) var<storage, read> v_cache: array<Value>;      // (slots, S, K·D)
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>;

var<workgroup> query: array<vec4<f32>, 128>;                         // (HEADS, FOURS), scaled; 0 past the last head
var<workgroup> keys: array<vec4<f32>, 544>;                          // (KEYS, PITCH); at the end sums
var<workgroup> scores: array<vec4<f32>, 64>;                         // (HEADS / 4, KEYS), four heads each; at the end totals
var<workgroup> weights: array<vec4<f32>, 64>;                        // (HEADS / 4, KEYS)

// Columns 4·c0 .. of the queries of `heads` heads, the first of which begins at `at`.
fn load_query(i: u32, at: u32, heads: u32, c0: u32, d4: u32) {
    for (var e = i; e < HEADS * FOURS; e += WORKGROUP_SIZE) {
        let head = e / FOURS;
        let c = c0 + e % FOURS;
        var four = vec4(0.0);
        if head < heads && c < d4 {
            four = q[at + head * d4 + c] * params.scale;
        }
        query[e] = four;
    }
}

// The same columns of `count` keys, the first of which begins at element `at`. Keys past them repeat the last.
fn load_keys(i: u32, at: u32, count: u32, c0: u32, d4: u32) {
    for (var e = i; e < KEYS * FOURS; e += WORKGROUP_SIZE) {
        let c = c0 + e % FOURS;
        if c < d4 {
            let key = min(e / FOURS, count - 1u);
            keys[e / FOURS * PITCH + e % FOURS] = key_four(at + key * params.kv_cols + 4u * c);
        }
    }
}

fn faded(sums: mat4x4<f32>, fade: vec4<f32>) -> mat4x4<f32> {
    return mat4x4(sums[0] * fade.x, sums[1] * fade.y, sums[2] * fade.z, sums[3] * fade.w);
}

// Four heads' sums and one value, by their weights.
fn weighted(sums: mat4x4<f32>, weight: vec4<f32>, value: vec4<f32>) -> mat4x4<f32> {
    return mat4x4(
        sums[0] + weight.x * value, sums[1] + weight.y * value,
        sums[2] + weight.z * value, sums[3] + weight.w * value,
    );
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn attention_split(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let n = group.y;
    let row = rows[n];
    let split = group.x % params.splits;
    let end = row.pos + 1u;
    let begin = first_key(row, params.window) + split * KEYS;
    if row.slot == INACTIVE || begin >= end {
        return;
    }
    cache_slot = row.slot;
    let d4 = params.head_dim / 4u;
    let of_group = params.q_cols / params.kv_cols;
    let parts = (of_group + HEADS - 1u) / HEADS;                     // that a group is served in
    let served = group.x / params.splits;
    let kv_head = served / parts;
    let before = served % parts * HEADS;
    let heads = min(HEADS, of_group - before);
    let head = kv_head * of_group + before;
    let q_at = (n * params.q_cols) / 4u + head * d4;
    // Element 0 of this slot's keys, and values, of the head that these share.
    let base = row.slot * params.s * params.kv_cols + kv_head * params.head_dim;
    // Of scores: this invocation's key of a tile, and which four heads.
    let t = i % KEYS;
    let half = i / KEYS;
    // Of values: its four columns, and of each tile's keys every `lanes`-th.
    let column = i % d4;
    let lane = i / d4;
    let lanes = WORKGROUP_SIZE / d4;
    var most_0 = vec4(-3.4e38);                                      // of heads 0 .. 3
    var most_1 = vec4(-3.4e38);                                      // of heads 4 .. 7
    var sums_0 = mat4x4<f32>();
    var sums_1 = mat4x4<f32>();
    var total = vec4(0.0);                                           // of its key's scores alone
    for (var tile = begin; tile < end; tile += params.splits * KEYS) {
        let count = min(KEYS, end - tile);
        let cell = base + tile * params.kv_cols;
        var dots = vec4(0.0);
        for (var c0 = 0u; c0 < d4; c0 += FOURS) {
            workgroupBarrier();                                      // what lies there may still be read
            if tile == begin || d4 > FOURS {
                load_query(i, q_at, heads, c0, d4);
            }
            load_keys(i, cell, count, c0, d4);
            workgroupBarrier();
            if 4u * half < heads {
                for (var c = 0u; c < min(FOURS, d4 - c0); c++) {
                    let key = keys[t * PITCH + c];
                    let at = 4u * half * FOURS + c;
                    dots += vec4(
                        dot(query[at], key), dot(query[at + FOURS], key),
                        dot(query[at + 2u * FOURS], key), dot(query[at + 3u * FOURS], key),
                    );
                }
            }
        }
        var score = vec4(-3.4e38);
        if t < count {
            score = vec4(
                capped(dots.x, params.cap), capped(dots.y, params.cap),
                capped(dots.z, params.cap), capped(dots.w, params.cap),
            );
        }
        scores[i] = score;
        workgroupBarrier();
        var now_0 = most_0;
        var now_1 = most_1;
        for (var k = 0u; k < KEYS; k++) {
            now_0 = max(now_0, scores[k]);
        }
        if heads > 4u {
            for (var k = 0u; k < KEYS; k++) {
                now_1 = max(now_1, scores[KEYS + k]);
            }
        }
        // Below -88 an exp is 0; infinities are best not asked for.
        let fade_0 = exp(max(most_0 - now_0, vec4(-88.0)));
        let fade_1 = exp(max(most_1 - now_1, vec4(-88.0)));
        most_0 = now_0;
        most_1 = now_1;
        var weight = vec4(0.0);
        if t < count {
            weight = exp(score - select(now_0, now_1, half == 1u));
        }
        total = total * select(fade_0, fade_1, half == 1u) + weight;
        weights[i] = weight;
        workgroupBarrier();
        sums_0 = faded(sums_0, fade_0);
        sums_1 = faded(sums_1, fade_1);
        if lane < lanes {
            for (var k = lane; k < count; k += lanes) {
                let value = value_four(cell + k * params.kv_cols + 4u * column);
                sums_0 = weighted(sums_0, weights[k], value);
                if heads > 4u {
                    sums_1 = weighted(sums_1, weights[KEYS + k], value);
                }
            }
        }
    }
    // Keys and scores have been read; the lanes' sums take their place.
    let sums = array(sums_0[0], sums_0[1], sums_0[2], sums_0[3], sums_1[0], sums_1[1], sums_1[2], sums_1[3]);
    for (var h = 0u; h < heads; h++) {
        keys[h * WORKGROUP_SIZE + i] = sums[h];
    }
    scores[i] = total;
    workgroupBarrier();
    for (var e = i; e < heads * d4; e += WORKGROUP_SIZE) {
        let h = e / d4;
        var sum = vec4(0.0);
        for (var l = 0u; l < lanes; l++) {
            sum += keys[h * WORKGROUP_SIZE + l * d4 + e % d4];
        }
        var all = 0.0;
        for (var k = 0u; k < KEYS; k++) {
            all += scores[h / 4u * KEYS + k][h % 4u];
        }
        if params.splits == 1u {
            out[q_at + e] = sum / all;
        } else {
            let at = ((n * params.q_cols / params.head_dim + head + h) * params.splits + split) * (d4 + 1u);
            out[at + e % d4] = sum;
            if e % d4 == 0u {
                out[at + d4] = vec4(select(most_0, most_1, h > 3u)[h % 4u], all, 0.0, 0.0);
            }
        }
    }
}
