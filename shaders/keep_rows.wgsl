// keep_rows: y[pos[n]] = x[n]
//
// shapes     rows (N)   x (N, C)   y (S, C)                                           f32
// dispatch   (ceil(C / WORKGROUP_SIZE), N, 1): one invocation per element
// accepts    any N, C >= 1; inactive rows write nothing
// twin       src/kernels/twin/keep_rows.rs
// uses       shared/row.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params { c: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(2) var<storage, read> x: array<f32>;              // (N, C)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;        // (S, C)

@compute @workgroup_size(WORKGROUP_SIZE)
fn keep_rows(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = rows[id.y];
    if id.x < params.c && row.slot != INACTIVE {
        y[row.pos * params.c + id.x] = x[id.y * params.c + id.x];
    }
}
