// outer_grad: g[g_first + r·V + j] += Σ u[n, u_first + r]·v[n, j] over the active rows n, for
// r < count and j in first .. end, of each of some products of a pair of u and v
//
// shapes     rows (N)   u (N, u_cols)   v (N, V), twice   g (any)                     f32
// dispatch   (tiles of all products, 1, 1): a workgroup makes a tile of 32 x 32 elements of g,
//            walking the rows in steps of 16
// accepts    any N >= 1, any columns; rows that take no part add nothing
// numerics   f32 sums in order of n; twin in f64
// twin       src/kernels/twin/outer_grad.rs
// uses       shared/tile.wgsl, shared/row.wgsl

override WORKGROUP_SIZE: u32 = 64u;

// Of each product: pair, u_first, count, g_first; first, end, tiles across, its first tile.
struct Params {
    n: u32, n_products: u32, u_cols_0: u32, v_cols_0: u32, u_cols_1: u32, v_cols_1: u32,
    padding: vec2<u32>, products: array<vec4<u32>, 12>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(2) var<storage, read> u_0: array<f32>;            // (N, u_cols_0)
@group(0) @binding(3) var<storage, read> v_0: array<f32>;            // (N, v_cols_0)
@group(0) @binding(4) var<storage, read> u_1: array<f32>;            // (N, u_cols_1)
@group(0) @binding(5) var<storage, read> v_1: array<f32>;            // (N, v_cols_1)
@group(0) @binding(6) var<storage, read_write> g: array<f32>;

// u[n, at], and v[n, at], of one pair; 0 outside of the product.
fn outer_grad_left(pair: u32, n: u32, at: u32, end: u32) -> f32 {
    if at >= end {
        return 0.0;
    }
    if pair == 0u {
        return u_0[n * params.u_cols_0 + at];
    }
    return u_1[n * params.u_cols_1 + at];
}

fn outer_grad_right(pair: u32, n: u32, at: u32, end: u32) -> f32 {
    if at >= end {
        return 0.0;
    }
    if pair == 0u {
        return v_0[n * params.v_cols_0 + at];
    }
    return v_1[n * params.v_cols_1 + at];
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn outer_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    var p = 0u;
    while p + 1u < params.n_products && group.x >= params.products[2u * p + 3u].w {
        p++;
    }
    let product = params.products[2u * p];
    let columns = params.products[2u * p + 1u];
    let pair = product.x;
    let u_end = product.y + product.z;
    let tile = group.x - columns.w;
    let r0 = tile / columns.z * TILE;
    let j0 = columns.x + tile % columns.z * TILE;
    var sums = mat4x4<f32>();
    for (var n0 = 0u; n0 < params.n; n0 += DEPTH) {
        for (var e = i; e < FOURS; e += WORKGROUP_SIZE) {
            let n = n0 + e / 8u;
            let r = product.y + r0 + 4u * (e % 8u);
            let j = j0 + 4u * (e % 8u);
            var left = vec4(0.0);
            var right = vec4(0.0);
            // An inactive row's activations may hold anything.
            if n < params.n && rows[n].slot != INACTIVE {
                left = vec4(
                    outer_grad_left(pair, n, r, u_end), outer_grad_left(pair, n, r + 1u, u_end),
                    outer_grad_left(pair, n, r + 2u, u_end), outer_grad_left(pair, n, r + 3u, u_end),
                );
                right = vec4(
                    outer_grad_right(pair, n, j, columns.y), outer_grad_right(pair, n, j + 1u, columns.y),
                    outer_grad_right(pair, n, j + 2u, columns.y), outer_grad_right(pair, n, j + 3u, columns.y),
                );
            }
            put_left(e / 8u, e % 8u, left);
            put_right(e / 8u, e % 8u, right);
        }
        workgroupBarrier();
        sums = add_tiles(i, sums);
        workgroupBarrier();
    }
    let cols = select(params.v_cols_1, params.v_cols_0, pair == 0u);
    for (var a = 0u; a < 4u; a++) {
        for (var b = 0u; b < 4u; b++) {
            let r = r0 + 4u * (i / 8u) + a;
            let j = j0 + 4u * (i % 8u) + b;
            if r < product.z && j < columns.y {
                g[product.w + r * cols + j] += sums[a][b];
            }
        }
    }
}
