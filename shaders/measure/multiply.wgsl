// Four chains of multiply-adds, each of vectors of four: 512 rounds of 16.
@group(0) @binding(0) var<storage, read_write> sums: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let x = vec4(0.999, 0.998, 0.997, 0.996);
    let start = f32(id.x) * 1e-6;
    var a = vec4(start);
    var b = vec4(start + 1.0);
    var c = vec4(start + 2.0);
    var d = vec4(start + 3.0);
    for (var i = 0u; i < 512u; i++) {
        a = fma(a, x, x);
        b = fma(b, x, x);
        c = fma(c, x, x);
        d = fma(d, x, x);
    }
    sums[id.x] = a + b + c + d;
}
