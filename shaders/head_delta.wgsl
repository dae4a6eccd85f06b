// head_delta: logits[n, token] += Σ γ·deltas[map[token]]·x[n]
//
// shapes     rows (N)   mixes (mixes)   x (N, C)   map (adapters, V)   deltas (any, C)
//            logits (N, V)                                                            f32
// dispatch   (ceil(V / (4 * WORKGROUP_SIZE / LANES)), N, 1): LANES invocations share four
//            tokens and stride over c
// accepts    any N, C, V >= 1
// numerics   f32; twin in f64
// twin       src/kernels/twin/head_delta.rs
// uses       shared/lanes.wgsl, shared/replaced.wgsl, shared/mix.wgsl, shared/row.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params { c: u32, v: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(2) var<storage, read> mixes: array<Mix>;          // (mixes)
@group(0) @binding(3) var<storage, read> x: array<f32>;              // (N, C)
@group(0) @binding(4) var<storage, read> map: array<u32>;            // (adapters, V)
@group(0) @binding(5) var<storage, read> deltas: array<f32>;         // (any, C)
@group(0) @binding(6) var<storage, read_write> logits: array<f32>;   // (N, V)

// This lane's share of the product of row n of x with the row that stands in for a token's; 0
// where none does.
fn lane_dot(block: Block, n: u32, token: u32, lane: u32) -> f32 {
    if token >= params.v {
        return 0.0;
    }
    let row = replaced_row(block, token);
    if row == ABSENT {
        return 0.0;
    }
    var dot = 0.0;
    for (var c = lane; c < params.c; c += LANES) {
        dot += x[n * params.c + c] * deltas[row * params.c + c];
    }
    return dot;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn head_delta(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let n = group.y;
    let mix = rows[n].mix;
    let lane = i % LANES;
    let first = 4u * (group.x * (WORKGROUP_SIZE / LANES) + i / LANES);
    var sums = vec4(0.0);
    for (var k = 0u; k < mixes[mix].n_blocks; k++) {
        let block = mixes[mix].blocks[k];
        let t0 = lane_dot(block, n, first, lane);
        let t1 = lane_dot(block, n, first + 1u, lane);
        let t2 = lane_dot(block, n, first + 2u, lane);
        let t3 = lane_dot(block, n, first + 3u, lane);
        sums += block.weight * vec4(t0, t1, t2, t3);
    }
    let dots = sum_lanes(i, lane, sums);
    if lane == 0u {
        for (var j = 0u; j < 4u && first + j < params.v; j++) {
            logits[n * params.v + first + j] += dots[j];
        }
    }
}
