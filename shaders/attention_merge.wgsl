// attention_merge: y of what attention_split left of a row's keys, and each head's share of z = γ ∘ A·y
// for adapters that read y
//
// shapes     rows (N)   parts (N, H, splits, D + 4), see attention_split   y (N, H·D)
//            mixes (mixes)   a (R, H·D)   z (N, z_cols): H partial sums, R apart      f32
// dispatch   (H, N, 1): one workgroup per query head and row
// accepts    any N >= 1; D <= 256, a multiple of four; splits <= 64; inactive rows write nothing
// numerics   f32; twin in f64
// twin       src/kernels/twin/attention.rs
// uses       shared/window.wgsl, shared/mix.wgsl, shared/row.wgsl

override WORKGROUP_SIZE: u32 = 64u;

const KEYS: u32 = 32u;                                               // of a tile of attention_split

struct Params {
    q_cols: u32, kv_cols: u32, head_dim: u32, s: u32, scale: f32, cap: f32, window: u32,
    ranks: u32, z_cols: u32, splits: u32, // ranks 0: no adapters
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(2) var<storage, read> parts: array<vec4<f32>>;    // (N, H, splits, D + 4)
@group(0) @binding(3) var<storage, read> mixes: array<Mix>;          // (mixes)
@group(0) @binding(4) var<storage, read> a: array<vec4<f32>>;        // (R, H·D)
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;  // (N, H·D)
@group(0) @binding(6) var<storage, read_write> z: array<f32>;        // (N, z_cols)

var<workgroup> tops: array<f32, 64>;                                 // the largest score of each split
var<workgroup> shares: array<f32, 64>;                               // what its sums count
var<workgroup> output: array<vec4<f32>, 64>;                         // (D), the row's y

@compute @workgroup_size(WORKGROUP_SIZE)
fn attention_merge(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let h = group.x;
    let n = group.y;
    let row = rows[n];
    if row.slot == INACTIVE {
        return;
    }
    let d4 = params.head_dim / 4u;
    let head = n * params.q_cols / params.head_dim + h;
    let base = head * params.splits * (d4 + 1u);
    let keys = row.pos + 1u - first_key(row, params.window);
    let splits = min(params.splits, (keys + KEYS - 1u) / KEYS);      // that have keys
    var stat = vec4(-3.4e38, 0.0, 0.0, 0.0);
    if i < splits {
        stat = parts[base + i * (d4 + 1u) + d4];
    }
    tops[i] = stat.x;
    workgroupBarrier();
    var most = tops[0];
    for (var s = 1u; s < splits; s++) {
        most = max(most, tops[s]);
    }
    let share = exp(max(stat.x - most, -88.0));
    shares[i] = share;
    workgroupBarrier();
    tops[i] = share * stat.y;
    workgroupBarrier();
    var total = 0.0;
    for (var s = 0u; s < splits; s++) {
        total += tops[s];
    }
    if i < d4 {
        var sum = vec4(0.0);
        for (var s = 0u; s < splits; s++) {
            sum += shares[s] * parts[base + s * (d4 + 1u) + i];
        }
        output[i] = sum / total;
        y[head * d4 + i] = sum / total;
    }
    if params.ranks == 0u {
        return;
    }
    workgroupBarrier();
    for (var k = 0u; k < mixes[row.mix].n_blocks; k++) {
        let block = mixes[row.mix].blocks[k];
        for (var r = first_rank(block) + i; r < end_rank(block); r += WORKGROUP_SIZE) {
            var dots = 0.0;
            for (var c = 0u; c < d4; c++) {
                dots += dot(output[c], a[r * (params.q_cols / 4u) + h * d4 + c]);
            }
            z[n * params.z_cols + h * params.ranks + r] = dots * block.weight;
        }
    }
}
