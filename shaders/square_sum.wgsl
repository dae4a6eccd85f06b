// square_sum: sums[first + i] = Σ g^2 over the i-th part of g
//
// shapes     g (len)   sums (>= first + parts)                                        f32
// dispatch   (parts, 1, 1): one workgroup per part, so that the order of a sum is fixed
// accepts    any len >= 1; the last parts may be short, or empty
// numerics   f32 sums in tree order; twin in f64
// twin       src/kernels/twin/square_sum.rs
// uses       shared/reduce.wgsl

override WORKGROUP_SIZE: u32 = 256u;

struct Params { len: u32, part: u32, first: u32 }                    // part: its length

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> g: array<f32>;              // (len)
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;     // (>= first + parts)

@compute @workgroup_size(WORKGROUP_SIZE)
fn square_sum(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let start = group.x * params.part;
    let end = min(start + params.part, params.len);
    var sum = 0.0;
    for (var at = start + i; at < end; at += WORKGROUP_SIZE) {
        sum += g[at] * g[at];
    }
    let total = reduce_sum(i, sum);
    if i == 0u {
        sums[params.first + group.x] = total;
    }
}
