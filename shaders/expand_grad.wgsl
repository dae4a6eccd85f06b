// expand_grad: dx[n] = Σ dz[n, r]·a[r] (+ dx[n]), over the ranks of all parts that row n's mix
// has switched on
//
// shapes     rows (N)   mixes (mixes)   dz (N, z_cols)   a (parts·R, C)   dx (N, C)   f32
// dispatch   (ceil(C / 32), ceil(N / 32), 1): a workgroup makes a tile of 32 x 32 outputs,
//            walking the ranks in steps of 16
// accepts    any N, C, R >= 1; ranks that are off may hold anything
// numerics   f32 sums in order of r; twin in f64
// twin       src/kernels/twin/expand_grad.rs
// uses       shared/tile.wgsl, shared/rank.wgsl, shared/mix.wgsl, shared/row.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params { n: u32, c: u32, ranks: u32, rows_of_a: u32, z_cols: u32, accumulate: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(2) var<storage, read> mixes: array<Mix>;          // (mixes)
@group(0) @binding(3) var<storage, read> dz: array<f32>;             // (N, z_cols)
@group(0) @binding(4) var<storage, read> a: array<f32>;              // (parts·R, C)
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;       // (N, C)

// What the tiles take in; 0 outside of the matrices, and where the rank is off.
fn expand_grad_left(n: u32, rank: u32) -> f32 {
    if n < params.n && rank < params.rows_of_a {
        if block_of(rows[n].mix, rank % params.ranks) != MAX_BLOCKS {
            return dz[n * params.z_cols + rank];
        }
    }
    return 0.0;
}

fn expand_grad_right(row: u32, c: u32) -> f32 {
    if row < params.rows_of_a && c < params.c {
        return a[row * params.c + c];
    }
    return 0.0;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn expand_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let n0 = group.y * TILE;
    let c0 = group.x * TILE;
    var sums = mat4x4<f32>();
    for (var r0 = 0u; r0 < params.rows_of_a; r0 += DEPTH) {
        for (var e = i; e < FOURS; e += WORKGROUP_SIZE) {
            let n = n0 + 4u * (e / DEPTH);
            let r = r0 + e % DEPTH;
            put_left(e % DEPTH, e / DEPTH, vec4(
                expand_grad_left(n, r), expand_grad_left(n + 1u, r),
                expand_grad_left(n + 2u, r), expand_grad_left(n + 3u, r),
            ));
            let a_row = r0 + e / 8u;
            let c = c0 + 4u * (e % 8u);
            put_right(e / 8u, e % 8u, vec4(
                expand_grad_right(a_row, c), expand_grad_right(a_row, c + 1u),
                expand_grad_right(a_row, c + 2u), expand_grad_right(a_row, c + 3u),
            ));
        }
        workgroupBarrier();
        sums = add_tiles(i, sums);
        workgroupBarrier();
    }
    for (var j = 0u; j < 4u; j++) {
        for (var k = 0u; k < 4u; k++) {
            let n = n0 + 4u * (i / 8u) + j;
            let c = c0 + 4u * (i % 8u) + k;
            if n < params.n && c < params.c {
                let at = n * params.c + c;
                dx[at] = sums[j][k] + select(0.0, dx[at], params.accumulate != 0u);
            }
        }
    }
}
