// dropout: y[n] = x[n] * keep / (1 - p) (+ y[n]), keep a function of seed, site, position and
// column alone
//
// shapes     training   rows (N)   x (N, C)   y (N, C)                                f32
// dispatch   (ceil(C / WORKGROUP_SIZE), N, 1): one invocation per element
// accepts    any N, C >= 1
// numerics   the twin keeps the same elements
// twin       src/kernels/twin/dropout.rs
// uses       shared/training.wgsl, shared/row.wgsl, shared/noise.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params { c: u32, site: u32, accumulate: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> training: Training;
@group(0) @binding(2) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(3) var<storage, read> x: array<f32>;              // (N, C)
@group(0) @binding(4) var<storage, read_write> y: array<f32>;        // (N, C)

@compute @workgroup_size(WORKGROUP_SIZE)
fn dropout(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.c {
        return;
    }
    let at = id.y * params.c + id.x;
    let bits = mix(training.seed ^ mix(params.site ^ mix(rows[id.y].pos ^ mix(id.x)))) >> 8u;
    let keep = f32(bits) >= training.dropout * 16777216.0;
    let kept = select(0.0, x[at] / (1.0 - training.dropout), keep);
    y[at] = kept + select(0.0, y[at], params.accumulate != 0u);
}
