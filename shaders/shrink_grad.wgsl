// shrink_grad: dz[n, p·R + r] = γ[r] · Σ dy[n, f]·b[r, f] over the outputs f of part p, for the
// ranks r that row n's mix has switched on
//
// shapes     rows (N)   mixes (mixes)   dy (N, F)   b (>= R, F)   dz (N, z_cols)      f32
// dispatch   (parts · ceil(R / 32), ceil(N / 32), 1): a workgroup makes a tile of 32 rows by
//            32 ranks of one part, walking its outputs in steps of 16
// accepts    any N, F, R >= 1; ranks that are off are not written
// numerics   f32 sums in order of f; twin in f64
// twin       src/kernels/twin/shrink_grad.rs
// uses       shared/tile.wgsl, shared/rank.wgsl, shared/mix.wgsl, shared/row.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params { n: u32, f: u32, ranks: u32, z_cols: u32, part_1: u32, part_2: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(2) var<storage, read> mixes: array<Mix>;          // (mixes)
@group(0) @binding(3) var<storage, read> dy: array<f32>;             // (N, F)
@group(0) @binding(4) var<storage, read> b: array<f32>;              // (>= R, F)
@group(0) @binding(5) var<storage, read_write> dz: array<f32>;       // (N, z_cols)

// Whether any row of the tile has a rank of the tile on: others' adapters cost nothing.
fn is_tile_on(n0: u32, r0: u32) -> bool {
    var on = false;
    for (var n = n0; n < min(n0 + TILE, params.n); n++) {
        let mix = rows[n].mix;
        for (var k = 0u; k < mixes[mix].n_blocks; k++) {
            let block = mixes[mix].blocks[k];
            on = on || (first_rank(block) < r0 + TILE && r0 < end_rank(block));
        }
    }
    return on;
}

// What the tiles take in; 0 outside of the matrices.
fn shrink_grad_left(n: u32, f: u32) -> f32 {
    if n < params.n {
        return dy[n * params.f + f];
    }
    return 0.0;
}

fn shrink_grad_right(r: u32, f: u32) -> f32 {
    if r < params.ranks {
        return b[r * params.f + f];
    }
    return 0.0;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn shrink_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let tiles = (params.ranks + TILE - 1u) / TILE;
    let part = group.x / tiles;
    let r0 = group.x % tiles * TILE;
    let n0 = group.y * TILE;
    if !is_tile_on(n0, r0) {
        return;
    }
    let edges = array<u32, 4>(0u, min(params.part_1, params.f), min(params.part_2, params.f), params.f);
    let end = edges[part + 1u];
    var sums = mat4x4<f32>();
    for (var f0 = edges[part]; f0 < end; f0 += DEPTH) {
        for (var e = i; e < FOURS; e += WORKGROUP_SIZE) {
            let four = e / DEPTH;
            let n = n0 + 4u * four;
            let r = r0 + 4u * four;
            let f = f0 + e % DEPTH;
            if f < end {
                put_left(e % DEPTH, four, vec4(
                    shrink_grad_left(n, f), shrink_grad_left(n + 1u, f),
                    shrink_grad_left(n + 2u, f), shrink_grad_left(n + 3u, f),
                ));
                put_right(e % DEPTH, four, vec4(
                    shrink_grad_right(r, f), shrink_grad_right(r + 1u, f),
                    shrink_grad_right(r + 2u, f), shrink_grad_right(r + 3u, f),
                ));
            } else {
                put_left(e % DEPTH, four, vec4(0.0));
                put_right(e % DEPTH, four, vec4(0.0));
            }
        }
        workgroupBarrier();
        sums = add_tiles(i, sums);
        workgroupBarrier();
    }
    for (var a = 0u; a < 4u; a++) {
        let n = n0 + 4u * (i / 8u) + a;
        for (var k = 0u; k < 4u && n < params.n; k++) {
            let r = r0 + 4u * (i % 8u) + k;
            let block = block_of(rows[n].mix, r);
            if block != MAX_BLOCKS {
                let gamma = mixes[rows[n].mix].blocks[block].weight;
                dz[n * params.z_cols + part * params.ranks + r] = gamma * sums[a][k];
            }
        }
    }
}
