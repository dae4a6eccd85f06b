// split_qkv_fused: split_qkv of one row of qkv as linear_vec would have written it, without adapters; of x̂ · weight
// in the place of x, where normed
//
// shapes     x (1, C)   weight ((H + 2K)·D, C)   rows (1)   rope (S, E) = [cos | sin]
//            vector: where normed the norm's weight (C), or with a bias that ((H + 2K)·D)
//            q (1, H·D)   k_cache, v_cache (slots, S, K·D)                            f32
// dispatch   (ceil((H + 2K)·D / (4 * WORKGROUP_SIZE / LANES)), 1, 1): LANES invocations share four rows of
//            weight, which are two pairs that are rotated together, and stride over c
// accepts    C, D and E <= D, multiples of four; an inactive row writes nothing. Every workgroup norms x for
//            itself, as norm does: to the bit
// numerics   f32; twins in f64
// twin       src/kernels/twin/norm.rs, src/kernels/twin/linear.rs, src/kernels/twin/split_qkv.rs
// reference  arXiv:1910.07467, arXiv:2104.09864
// uses       shared/normed_row.wgsl, shared/rms.wgsl, shared/reduce.wgsl, shared/four_weights.wgsl,
//            shared/lanes.wgsl, shared/growth.wgsl, shared/heads.wgsl, shared/row.wgsl, shared/weight_*.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params {
    q_cols: u32, kv_cols: u32, head_dim: u32, s: u32, rotated: u32, grouped: u32, neighbours: u32, every: u32, beta: f32,
    c: u32, with_bias: u32, normed: u32, eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // (1, C)
@group(0) @binding(2) var<storage, read> weight: array<Weight>;      // ((H + 2K)·D, C)
@group(0) @binding(3) var<storage, read> vector: array<vec4<f32>>;   // (C), or ((H + 2K)·D)
@group(0) @binding(4) var<storage, read> rows: array<Row>;           // (1)
@group(0) @binding(5) var<storage, read> rope: array<f32>;           // (S, E)
@group(0) @binding(6) var<storage, read_write> q: array<f32>;        // (1, H·D)
@group(0) @binding(7) var<storage, read_write> k_cache: array<f32>;  // (slots, S, K·D)
@group(0) @binding(8) var<storage, read_write> v_cache: array<f32>;  // (slots, S, K·D)

fn bias_at(column: u32) -> f32 {
    return vector[column / 4u][column % 4u];
}

// Two pairs, [a | b], rotated by their angles.
fn rotated_pairs(a: vec2<f32>, b: vec2<f32>, cos: vec2<f32>, sin: vec2<f32>) -> vec4<f32> {
    return vec4(a * cos - b * sin, b * cos + a * sin);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn split_qkv_fused(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let row = rows[0];
    if row.slot == INACTIVE {
        return;
    }
    let scale = row_scale(i);
    let d = params.head_dim;
    let q_heads = params.q_cols / d;
    let kv_heads = params.kv_cols / d;
    let lane = i % LANES;
    // Which four columns of which head.
    let unit = group.x * (WORKGROUP_SIZE / LANES) + i / LANES;
    let head = unit / (d / 4u);
    let k = unit % (d / 4u);
    let turns = head < q_heads + kv_heads && 4u * k < params.rotated;
    let half = params.rotated / 2u;
    let beside = vec4(4u * k) + vec4(0u, 1u, 2u, 3u);
    let apart = vec4(2u * k) + vec4(0u, 1u, half, half + 1u);
    let is_apart = turns && params.neighbours == 0u;
    let within = select(beside, apart, is_apart);
    let last = params.q_cols + 2u * params.kv_cols - 1u;
    let source = min(vec4(place_of(head, q_heads, kv_heads, params.grouped) * d) + within, vec4(last));
    let at = source * weight_stride();
    var sums = vec4(0.0);
    for (var c = lane; c < params.c / 4u; c += LANES) {
        sums += normed_row(c, scale) * weights(at, c);
    }
    var value = sum_lanes(i, lane, sums);
    if lane != 0u || head >= q_heads + 2u * kv_heads {
        return;
    }
    if params.with_bias != 0u {
        value += vec4(bias_at(source.x), bias_at(source.y), bias_at(source.z), bias_at(source.w));
    }
    if turns {
        let angle = row.pos * params.rotated + 2u * k;
        let cos = vec2(rope[angle], rope[angle + 1u]);
        let sin = vec2(rope[angle + half], rope[angle + half + 1u]);
        if is_apart {
            value = rotated_pairs(value.xy, value.zw, cos, sin);
        } else {
            value = rotated_pairs(value.xz, value.yw, cos, sin).xzyw;
        }
    }
    let cell = (row.slot * params.s + row.pos) * params.kv_cols;
    if head < q_heads {
        let factor = growth_at(row.pos, params.every, params.beta);
        for (var j = 0u; j < 4u; j++) {
            q[head * d + within[j]] = factor * value[j];
        }
    } else if head < q_heads + kv_heads {
        for (var j = 0u; j < 4u; j++) {
            k_cache[cell + (head - q_heads) * d + within[j]] = value[j];
        }
    } else {
        for (var j = 0u; j < 4u; j++) {
            v_cache[cell + (head - q_heads - kv_heads) * d + within[j]] = value[j];
        }
    }
}
