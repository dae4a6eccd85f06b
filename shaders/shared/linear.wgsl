// linear: what the kernels of `linear` share: parameters, bindings and the end of the epilogue.
// Needs shared/mix.wgsl and shared/row.wgsl.

struct Params {
    n: u32, c: u32, f: u32, first: u32, stride: u32, with_bias: u32, accumulate: u32,
    ranks: u32, partials: u32, z_cols: u32, adapters: u32, part_1: u32, part_2: u32, // ranks 0: no adapters
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> bias: array<f32>;           // (stride)
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

// y[n, column] = value (+ bias) (+ y)
fn put(n: u32, column: u32, value: f32) {
    let at = n * params.stride + column;
    var sum = value;
    if params.with_bias != 0u {
        sum += bias[column];
    }
    if params.accumulate != 0u {
        sum += y[at];
    }
    y[at] = sum;
}
