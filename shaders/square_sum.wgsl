// square_sum: sums[index] = Σ g^2
//
// shapes     g (len)   sums (> index)                                                 f32
// dispatch   (1, 1, 1): one workgroup, so that the order of the sum is fixed
// accepts    any len >= 1
// numerics   f32 sums in tree order; twin in f64
// twin       src/kernels/twin/square_sum.rs
// uses       shared/reduce.wgsl

override WORKGROUP_SIZE: u32 = 256u;

struct Params { len: u32, index: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g: array<f32>;              // (len)
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;     // (> index)

@compute @workgroup_size(WORKGROUP_SIZE)
fn square_sum(@builtin(local_invocation_index) i: u32) {
    var sum = 0.0;
    for (var at = i; at < params.len; at += WORKGROUP_SIZE) {
        sum += g[at] * g[at];
    }
    let total = reduce_sum(i, sum);
    if i == 0u {
        sums[params.index] = total;
    }
}
