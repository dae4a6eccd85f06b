// Reads 512 vectors of workgroup memory an invocation, neighbours beside each other.
@group(0) @binding(0) var<storage, read_write> sums: array<vec4<f32>>;

var<workgroup> shared_data: array<vec4<f32>, 256>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    for (var e = i; e < 256u; e += 64u) {
        shared_data[e] = vec4(f32(e + id.x));
    }
    workgroupBarrier();
    var sum = vec4<f32>();
    for (var j = 0u; j < 512u; j++) {
        sum += shared_data[(i + j * 7u) % 256u];
    }
    sums[id.x] = sum;
}
