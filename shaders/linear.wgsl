// linear: y = delta(x Wᵀ) (+ bias) (+ y) for many rows of x (prefill), and wherever C is no
// multiple of four
//
// shapes     x (N, C)   weight (F, C)   y (N, stride); the rest in shared/linear.wgsl  f32
// dispatch   (ceil(F / 32), ceil(N / 32), 1): a workgroup of 8 x 8 invocations makes a tile of
//            32 x 32 outputs, 4 x 4 each, walking C in steps of 16 through workgroup memory
// accepts    any N, C, F >= 1; no alignment assumed
// numerics   f32 sums in order of c; twin in f64
// twin       src/backend/cpu/linear.rs
// uses       shared/linear.wgsl, shared/mix.wgsl, shared/row.wgsl, shared/weight_*.wgsl

override WORKGROUP_SIZE: u32 = 64u;

const TILE: u32 = 32u;
const DEPTH: u32 = 16u;

@group(0) @binding(1) var<storage, read> x: array<f32>;              // (N, C)
@group(0) @binding(2) var<storage, read> weight: array<Weight>;      // (F, C)
@group(0) @binding(6) var<storage, read> z: array<f32>;              // (N, z_cols)
@group(0) @binding(7) var<storage, read> b: array<f32>;              // (ranks + 2·adapters, stride)

// Transposed, so that four neighbouring rows are one vec4: [depth][row / 4].
var<workgroup> x_tile: array<vec4<f32>, 128>;                        // DEPTH * TILE / 4
var<workgroup> w_tile: array<vec4<f32>, 128>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let n0 = group.y * TILE;
    let f0 = group.x * TILE;
    let tn = i / 8u;
    let tf = i % 8u;
    var sums = array<vec4<f32>, 4>();
    for (var c0 = 0u; c0 < params.c; c0 += DEPTH) {
        for (var e = i; e < TILE * DEPTH; e += WORKGROUP_SIZE) {
            let row = e / DEPTH;
            let depth = e % DEPTH;
            let c = c0 + depth;
            let inside = c < params.c;
            var xv = 0.0;
            var wv = 0.0;
            if inside && n0 + row < params.n {
                xv = x[(n0 + row) * params.c + c];
            }
            if inside && f0 + row < params.f {
                wv = weight_at(f0 + row, c);
            }
            x_tile[depth * 8u + row / 4u][row % 4u] = xv;
            w_tile[depth * 8u + row / 4u][row % 4u] = wv;
        }
        workgroupBarrier();
        for (var depth = 0u; depth < DEPTH; depth++) {
            let xs = x_tile[depth * 8u + tn];
            let ws = w_tile[depth * 8u + tf];
            sums[0] += xs.x * ws;
            sums[1] += xs.y * ws;
            sums[2] += xs.z * ws;
            sums[3] += xs.w * ws;
        }
        workgroupBarrier();
    }
    for (var a = 0u; a < 4u; a++) {
        for (var b = 0u; b < 4u; b++) {
            let n = n0 + 4u * tn + a;
            let f = f0 + 4u * tf + b;
            if n < params.n && f < params.f {
                put(n, params.first + f, adapted(n, params.first + f, sums[a][b]));
            }
        }
    }
}

fn z_at(at: u32) -> f32 {
    return z[at];
}

fn b_at(at: u32) -> f32 {
    return b[at];
}
