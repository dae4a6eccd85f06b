// linear: what the kernels of `linear` share: parameters, bindings and the epilogue.
// Needs shared/mix.wgsl and shared/row.wgsl.

struct Params {
    n: u32, c: u32, f: u32, first: u32, stride: u32, with_bias: u32, accumulate: u32,
    ranks: u32, z_cols: u32, adapters: u32, part_1: u32, part_2: u32, // ranks 0: no adapters
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> bias: array<f32>;           // (stride)
@group(0) @binding(4) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(5) var<storage, read> mixes: array<Mix>;          // (mixes)
@group(0) @binding(6) var<storage, read> z: array<f32>;              // (N, z_cols)
@group(0) @binding(7) var<storage, read> b: array<f32>;              // (ranks + 2·adapters, stride)
@group(0) @binding(8) var<storage, read_write> y: array<f32>;        // (N, stride)

// value · (1 + Σ γ·gain) + Σ γ·shift + Σ z·b
fn adapted(n: u32, column: u32, value: f32) -> f32 {
    let mix = rows[n].mix;
    let part = u32(column >= params.part_1) + u32(column >= params.part_2);
    let z_row = n * params.z_cols + part * params.ranks;
    var gain = 1.0;
    var sum = 0.0;
    for (var k = 0u; k < mixes[mix].n_blocks; k++) {
        let block = mixes[mix].blocks[k];
        if is_affine(block) {
            let gain_row = params.ranks + adapter_of(block);
            gain += block.weight * b[gain_row * params.stride + column];
            sum += block.weight * b[(gain_row + params.adapters) * params.stride + column];
        }
        for (var r = first_rank(block); r < end_rank(block); r++) {
            sum += z[z_row + r] * b[r * params.stride + column];
        }
    }
    return value * gain + sum;
}

// y[n, first + f] = delta(dot) (+ bias) (+ y)
fn put(n: u32, f: u32, dot: f32) {
    let column = params.first + f;
    let at = n * params.stride + column;
    var value = dot;
    if params.ranks != 0u {
        value = adapted(n, column, value);
    }
    if params.with_bias != 0u {
        value += bias[column];
    }
    if params.accumulate != 0u {
        value += y[at];
    }
    y[at] = value;
}
