// linear: what the kernels of `linear` share: parameters, bindings' meaning and the epilogue.

struct Params { n: u32, c: u32, f: u32, first: u32, stride: u32, with_bias: u32, accumulate: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> bias: array<f32>;           // (stride)
@group(0) @binding(4) var<storage, read_write> y: array<f32>;        // (N, stride)

// y[n, first + f] = dot (+ bias) (+ y)
fn put(n: u32, f: u32, dot: f32) {
    let column = params.first + f;
    let at = n * params.stride + column;
    var value = dot;
    if params.with_bias != 0u {
        value += bias[column];
    }
    if params.accumulate != 0u {
        value += y[at];
    }
    y[at] = value;
}
