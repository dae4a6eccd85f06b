// linear_vec: y = delta(x Wᵀ) (+ bias) (+ y) for one row of x (decoding)
//
// shapes     x (N, C)   weight (F, C)   y (N, stride); the rest in shared/linear.wgsl  f32
// dispatch   (ceil(F / (4 * WORKGROUP_SIZE / LANES)), N, 1): LANES invocations share four
//            rows of weight and stride over c
// accepts    any N, C, F >= 1
// numerics   f32; twin in f64
// twin       src/backend/cpu/linear.rs
// uses       shared/few_rows.wgsl, shared/lanes.wgsl, shared/linear.wgsl, shared/mix.wgsl, shared/row.wgsl

override WORKGROUP_SIZE: u32 = 64u;

const ROWS: u32 = 1u;

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // (N, C)
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;   // (F, C)

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_vec(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    few_rows(group, i);
}
