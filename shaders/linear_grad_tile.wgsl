// linear_grad_tile: dx[dx_first + n] = dy[n, first..first + F] · W (+ dx), or its sums over parts of F
//
// shapes     dy (N, stride)   weight (F, C)   dx (>= dx_first + N, C)                 f32
//            parts, in the place of dx where splits > 1: (splits, N, C)
// dispatch   (ceil(C / 64), ceil(N / 64), splits): a workgroup makes a tile of 64 x 64 outputs, walking
//            its part of F in steps of 16
// accepts    any N, F >= 1; C a multiple of 4
// numerics   f32 sums in order of f; twin in f64
// twin       src/kernels/twin/linear_grad.rs
// uses       shared/wide_tile.wgsl, shared/weight_*.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params {
    n: u32, c: u32, f: u32, first: u32, stride: u32, dx_first: u32, accumulate: u32, splits: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;       // (N, stride)
@group(0) @binding(2) var<storage, read> weight: array<Weight>;      // (F, C)
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>; // (>= dx_first + N, C)

// dy of row n at outputs f .. f + 3 of the slice, 0 from `end` on.
fn dy_four(n: u32, f: u32, end: u32) -> vec4<f32> {
    let at = min(n, params.n - 1u) * params.stride + params.first + f;
    var four = dy[at / 4u];
    if (params.stride | params.first) % 4u != 0u {
        let each = vec4(at) + vec4(0u, 1u, 2u, 3u);
        four = vec4(
            four[each.x % 4u], dy[each.y / 4u][each.y % 4u],
            dy[each.z / 4u][each.z % 4u], dy[each.w / 4u][each.w % 4u],
        );
    }
    return select(vec4(0.0), four, vec4(f) + vec4(0u, 1u, 2u, 3u) < vec4(end));
}

// Columns 4·c4 .. 4·c4 + 3 of row n.
fn put_dx(n: u32, c4: u32, split: u32, sums: vec4<f32>) {
    if n >= params.n || 4u * c4 >= params.c {
        return;
    }
    if params.splits > 1u {
        dx[(split * params.n + n) * (params.c / 4u) + c4] = sums;
        return;
    }
    let at = (params.dx_first + n) * (params.c / 4u) + c4;
    dx[at] = select(sums, sums + dx[at], params.accumulate != 0u);
}

fn put_dx_rows(n: u32, c4: u32, split: u32, sums: mat4x4<f32>) {
    put_dx(n, c4, split, sums[0]);
    put_dx(n + 1u, c4, split, sums[1]);
    put_dx(n + 2u, c4, split, sums[2]);
    put_dx(n + 3u, c4, split, sums[3]);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn linear_grad_tile(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let n0 = group.y * WIDE;
    let c0 = group.x * (WIDE / 4u);                                  // in fours
    let n_rows = min(WIDE, params.n - n0);
    let d4 = i % 4u;
    let four = i / 4u;
    let steps = (params.f + STEP - 1u) / STEP;
    let each = (steps + params.splits - 1u) / params.splits * STEP;
    let end = min((group.z + 1u) * each, params.f);
    var sums = Wide();
    for (var f0 = group.z * each; f0 < end; f0 += STEP) {
        let n = n0 + 4u * four;
        let f = f0 + 4u * d4;
        let left = mat4x4(
            dy_four(n, f, end), dy_four(n + 1u, f, end), dy_four(n + 2u, f, end), dy_four(n + 3u, f, end),
        );
        workgroupBarrier(); // the last step may still be read
        put_left_four(d4, four, left);
        for (var e = i; e < STEP * WIDE / 4u; e += WORKGROUP_SIZE) {
            let row = f0 + e / 16u;
            let c4 = c0 + e % 16u;
            var values = vec4(0.0);
            if row < end && 4u * c4 < params.c {
                values = weight_four(row * weight_stride(), c4);
            }
            put_right_row(e / 16u, e % 16u, values);
        }
        workgroupBarrier();
        sums = add_wide_tiles(i, n_rows, sums);
    }
    let n = n0 + 4u * (i / 8u);
    let c4 = c0 + i % 8u;
    put_dx_rows(n, c4, group.z, sums.upper_left);
    put_dx_rows(n, c4 + 8u, group.z, sums.upper_right);
    put_dx_rows(n + 32u, c4, group.z, sums.lower_left);
    put_dx_rows(n + 32u, c4 + 8u, group.z, sums.lower_right);
}
