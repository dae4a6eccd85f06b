// linear_grad: dx[dx_first + n] = dy[n, first..first + F] · W (+ dx) where C is no multiple of four
//
// shapes     dy (N, stride)   weight (F, C)   dx (>= dx_first + N, C)                 f32
// dispatch   (ceil(C / 32), ceil(N / 32), 1): a workgroup makes a tile of 32 x 32 outputs,
//            walking F in steps of 16
// accepts    any N, C, F >= 1; no alignment assumed
// numerics   f32 sums in order of f; twin in f64
// twin       src/kernels/twin/linear_grad.rs
// uses       shared/tile.wgsl, shared/weight_f32.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params {
    n: u32, c: u32, f: u32, first: u32, stride: u32, dx_first: u32, accumulate: u32, splits: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;             // (N, stride)
@group(0) @binding(2) var<storage, read> weight: array<Weight>;      // (F, C)
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;       // (>= dx_first + N, C)

// What the tiles take in; 0 outside of the matrices.
fn linear_grad_left(n: u32, f: u32) -> f32 {
    if n < params.n && f < params.f {
        return dy[n * params.stride + params.first + f];
    }
    return 0.0;
}

fn linear_grad_right(f: u32, c: u32) -> f32 {
    if f < params.f && c < params.c {
        return weight_at(f, c);
    }
    return 0.0;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let n0 = group.y * TILE;
    let c0 = group.x * TILE;
    var sums = mat4x4<f32>();
    for (var f0 = 0u; f0 < params.f; f0 += DEPTH) {
        for (var e = i; e < FOURS; e += WORKGROUP_SIZE) {
            // Neighbouring invocations read neighbouring elements of both matrices.
            let n = n0 + 4u * (e / DEPTH);
            let f = f0 + e % DEPTH;
            put_left(e % DEPTH, e / DEPTH, vec4(
                linear_grad_left(n, f), linear_grad_left(n + 1u, f),
                linear_grad_left(n + 2u, f), linear_grad_left(n + 3u, f),
            ));
            let w = f0 + e / 8u;
            let c = c0 + 4u * (e % 8u);
            put_right(e / 8u, e % 8u, vec4(
                linear_grad_right(w, c), linear_grad_right(w, c + 1u),
                linear_grad_right(w, c + 2u), linear_grad_right(w, c + 3u),
            ));
        }
        workgroupBarrier();
        sums = add_tiles(i, sums);
        workgroupBarrier();
    }
    for (var a = 0u; a < 4u; a++) {
        for (var b = 0u; b < 4u; b++) {
            let n = n0 + 4u * (i / 8u) + a;
            let c = c0 + 4u * (i % 8u) + b;
            if n < params.n && c < params.c {
                let at = (params.dx_first + n) * params.c + c;
                dx[at] = sums[a][b] + select(0.0, dx[at], params.accumulate != 0u);
            }
        }
    }
}
