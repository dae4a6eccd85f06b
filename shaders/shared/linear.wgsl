// linear: what the kernels of `linear` share: parameters, bindings and the epilogue.
// Needs z_at and b_at, elements of the bindings z and b; shared/mix.wgsl and shared/row.wgsl.

struct Params {
    n: u32, c: u32, f: u32, first: u32, stride: u32, with_bias: u32, accumulate: u32,
    ranks: u32, partials: u32, z_cols: u32, adapters: u32, part_1: u32, part_2: u32, // ranks 0: no adapters
    normed: u32, eps: f32, activated: u32, kind: u32, gated: u32, // of linear_vec_fused alone
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> vector: array<vec4<f32>>;   // (stride) bias; or (C), see linear_vec_fused
@group(0) @binding(4) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(5) var<storage, read> mixes: array<Mix>;          // (mixes)
@group(0) @binding(8) var<storage, read_write> y: array<f32>;        // (N, stride)

// Which of the projections that the matrix serves a column belongs to.
fn part_of(column: u32) -> u32 {
    return u32(column >= params.part_1) + u32(column >= params.part_2);
}

// The row of b with an adapter's gains; its shifts are `adapters` rows further on.
fn gain_row(block: Block) -> u32 {
    return params.ranks + adapter_of(block);
}

// value (+ bias)
fn biased(column: u32, value: f32) -> f32 {
    if params.with_bias != 0u {
        return value + vector[column / 4u][column % 4u];
    }
    return value;
}

// y[n, column] = value (+ bias) (+ y)
fn put(n: u32, column: u32, value: f32) {
    let at = n * params.stride + column;
    var sum = biased(column, value);
    if params.accumulate != 0u {
        sum += y[at];
    }
    y[at] = sum;
}

// value · (1 + Σ γ·gain) + Σ γ·shift + Σ z·b
fn adapted(n: u32, column: u32, value: f32) -> f32 {
    if params.ranks == 0u {
        return value;
    }
    let mix = rows[n].mix;
    let z_row = n * params.z_cols + params.partials * params.ranks * part_of(column);
    var gain = 1.0;
    var sum = 0.0;
    for (var k = 0u; k < mixes[mix].n_blocks; k++) {
        let block = mixes[mix].blocks[k];
        if is_affine(block) {
            gain += block.weight * b_at(gain_row(block) * params.stride + column);
            sum += block.weight * b_at((gain_row(block) + params.adapters) * params.stride + column);
        }
        for (var r = first_rank(block); r < end_rank(block); r++) {
            var whole = 0.0;
            for (var p = 0u; p < params.partials; p++) {
                whole += z_at(z_row + p * params.ranks + r);
            }
            sum += whole * b_at(r * params.stride + column);
        }
    }
    return value * gain + sum;
}
