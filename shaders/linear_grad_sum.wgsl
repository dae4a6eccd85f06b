// linear_grad_sum: dx[dx_first + n] = Σ parts[split, n] (+ dx) over what linear_grad_tile has left
//
// shapes     parts (splits, N, C)   dx (>= dx_first + N, C)                           f32
// dispatch   (ceil(C / 4 / WORKGROUP_SIZE), N, 1): one invocation per four columns
// accepts    any N >= 1; C a multiple of 4
// numerics   f32 sums in order of the parts; twin in f64
// twin       src/kernels/twin/linear_grad.rs

override WORKGROUP_SIZE: u32 = 64u;

struct Params {
    n: u32, c: u32, f: u32, first: u32, stride: u32, dx_first: u32, accumulate: u32, splits: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parts: array<vec4<f32>>;    // (splits, N, C)
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>; // (>= dx_first + N, C)

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_grad_sum(@builtin(global_invocation_id) id: vec3<u32>) {
    let c4 = params.c / 4u;
    if id.x >= c4 {
        return;
    }
    let at = (params.dx_first + id.y) * c4 + id.x;
    var sum = vec4(0.0);
    for (var split = 0u; split < params.splits; split++) {
        sum += parts[(split * params.n + id.y) * c4 + id.x];
    }
    dx[at] = select(sum, sum + dx[at], params.accumulate != 0u);
}
