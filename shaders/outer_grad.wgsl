// outer_grad: g[g_first + r, j] += Σ u[n, u_first + r]·v[n, j] over the active rows n
//
// shapes     rows (N)   u (N, u_cols)   v (N, v_cols)   g (.., v_cols)                f32
//            r < count, first <= j < end
// dispatch   (ceil((end - first) / 32), ceil(count / 32), 1): a workgroup makes a tile of
//            32 x 32 elements of g, walking the rows in steps of 16
// accepts    any N, count >= 1; no alignment assumed
// numerics   f32 sums in order of n; twin in f64
// twin       src/backend/cpu/outer_grad.rs
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

@compute @workgroup_size(WORKGROUP_SIZE)
fn outer_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let r0 = group.y * TILE;
    let j0 = params.first + group.x * TILE;
    var sums = mat4x4<f32>();
    for (var n0 = 0u; n0 < params.n; n0 += DEPTH) {
        for (var e = i; e < TILE * DEPTH; e += WORKGROUP_SIZE) {
            let n = n0 + e / TILE;
            let r = r0 + e % TILE;
            let j = j0 + e % TILE;
            var left = 0.0;
            var right = 0.0;
            if n < params.n {
                // An inactive row's activations may hold anything.
                let on = rows[n].slot != INACTIVE;
                if on && r < params.count {
                    left = u[n * params.u_cols + params.u_first + r];
                }
                if on && j < params.end {
                    right = v[n * params.v_cols + j];
                }
            }
            put_left(e / TILE, e % TILE, left);
            put_right(e / TILE, e % TILE, right);
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
