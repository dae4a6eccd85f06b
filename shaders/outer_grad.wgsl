// outer_grad: g[g_first + r, j] += Σ u[n, u_first + r]·v[n, j] over the active rows n
//
// shapes     rows (N)   u (N, u_cols)   v (N, v_cols)   g (.., v_cols)                f32
//            r < count, first <= j < end
// dispatch   (ceil((end - first) / 32), ceil(count / 32), 1): a workgroup makes a tile of
//            32 x 32 elements of g, walking the rows in steps of 16
// accepts    any N, count >= 1; no alignment assumed
// numerics   f32 sums in order of n; twin in f64
// twin       src/kernels/twin/outer_grad.rs
// uses       shared/tile.wgsl, shared/row.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params {
    n: u32, u_first: u32, u_cols: u32, v_cols: u32,
    g_first: u32, count: u32, first: u32, end: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(2) var<storage, read> u: array<f32>;              // (N, u_cols)
@group(0) @binding(3) var<storage, read> v: array<f32>;              // (N, v_cols)
@group(0) @binding(4) var<storage, read_write> g: array<f32>;        // (>= g_first + count, v_cols)

// What the tiles take in; 0 outside of the matrices.
fn outer_grad_left(n: u32, r: u32) -> f32 {
    if r < params.count {
        return u[n * params.u_cols + params.u_first + r];
    }
    return 0.0;
}

fn outer_grad_right(n: u32, j: u32) -> f32 {
    if j < params.end {
        return v[n * params.v_cols + j];
    }
    return 0.0;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn outer_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let r0 = group.y * TILE;
    let j0 = params.first + group.x * TILE;
    var sums = mat4x4<f32>();
    for (var n0 = 0u; n0 < params.n; n0 += DEPTH) {
        for (var e = i; e < FOURS; e += WORKGROUP_SIZE) {
            let n = n0 + e / 8u;
            let r = r0 + 4u * (e % 8u);
            let j = j0 + 4u * (e % 8u);
            var left = vec4(0.0);
            var right = vec4(0.0);
            // An inactive row's activations may hold anything.
            if n < params.n && rows[n].slot != INACTIVE {
                left = vec4(
                    outer_grad_left(n, r), outer_grad_left(n, r + 1u),
                    outer_grad_left(n, r + 2u), outer_grad_left(n, r + 3u),
                );
                right = vec4(
                    outer_grad_right(n, j), outer_grad_right(n, j + 1u),
                    outer_grad_right(n, j + 2u), outer_grad_right(n, j + 3u),
                );
            }
            put_left(e / 8u, e % 8u, left);
            put_right(e / 8u, e % 8u, right);
        }
        workgroupBarrier();
        sums = add_tiles(i, sums);
        workgroupBarrier();
    }
    for (var a = 0u; a < 4u; a++) {
        for (var b = 0u; b < 4u; b++) {
            let r = r0 + 4u * (i / 8u) + a;
            let j = j0 + 4u * (i % 8u) + b;
            if r < params.count && j < params.end {
                g[(params.g_first + r) * params.v_cols + j] += sums[a][b];
            }
        }
    }
}
