// linear: y = delta(x Wᵀ) (+ bias) (+ y) where C is no multiple of four
//
// shapes     x (N, C)   weight (F, C)   y (N, stride); the rest in shared/linear.wgsl  f32
// dispatch   (ceil(F / 32), ceil(N / 32), 1): a workgroup of 8 x 8 invocations makes a tile of
//            32 x 32 outputs, 4 x 4 each, walking C in steps of 16 through workgroup memory
// accepts    any N, C, F >= 1; no alignment assumed
// numerics   f32 sums in order of c; twin in f64
// twin       src/kernels/twin/linear.rs
// uses       shared/tile.wgsl, shared/linear.wgsl, shared/mix.wgsl, shared/row.wgsl,
//            shared/weight_f32.wgsl

override WORKGROUP_SIZE: u32 = 64u;

@group(0) @binding(1) var<storage, read> x: array<f32>;              // (N, C)
@group(0) @binding(2) var<storage, read> weight: array<Weight>;      // (F, C)
@group(0) @binding(6) var<storage, read> z: array<f32>;              // (N, z_cols)
@group(0) @binding(7) var<storage, read> b: array<f32>;              // (ranks + 2·adapters, stride)

// What the tiles take in; 0 outside of the matrices.
fn linear_left(n: u32, c: u32) -> f32 {
    if n < params.n && c < params.c {
        return x[n * params.c + c];
    }
    return 0.0;
}

fn linear_right(f: u32, c: u32) -> f32 {
    if f < params.f && c < params.c {
        return weight_at(f, c);
    }
    return 0.0;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let n0 = group.y * TILE;
    let f0 = group.x * TILE;
    let tn = i / 8u;
    let tf = i % 8u;
    var sums = mat4x4<f32>();
    for (var c0 = 0u; c0 < params.c; c0 += DEPTH) {
        for (var e = i; e < FOURS; e += WORKGROUP_SIZE) {
            // Neighbouring invocations read neighbouring elements of both matrices.
            let four = e / DEPTH;
            let n = n0 + 4u * four;
            let f = f0 + 4u * four;
            let c = c0 + e % DEPTH;
            put_left(e % DEPTH, four, vec4(
                linear_left(n, c), linear_left(n + 1u, c),
                linear_left(n + 2u, c), linear_left(n + 3u, c),
            ));
            put_right(e % DEPTH, four, vec4(
                linear_right(f, c), linear_right(f + 1u, c),
                linear_right(f + 2u, c), linear_right(f + 3u, c),
            ));
        }
        workgroupBarrier();
        sums = add_tiles(i, sums);
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
