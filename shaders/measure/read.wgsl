// Reads a buffer once, neighbours beside each other. What is written depends on all of it.
@group(0) @binding(0) var<storage, read> data: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> sums: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let n = arrayLength(&data);
    let step = 64u * groups.x;
    var sum = vec4<u32>();
    for (var i = id.x; i < n; i += step) {
        sum ^= data[i];
    }
    sums[id.x] = sum.x ^ sum.y ^ sum.z ^ sum.w;
}
