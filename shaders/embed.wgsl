// embed: y[n] = scale * table[token[n] - first] (+ positions[pos[n]])
//
// shapes     rows (N)   weight (table_rows, C)   positions (S, C)   y (N, C)         f32
// dispatch   (ceil(C / WORKGROUP_SIZE), N, 1): one invocation per element
// accepts    any N, C >= 1; tokens outside the table's rows leave y untouched
// twin       src/kernels/twin/embed.rs
// uses       shared/row.wgsl, shared/weight_*.wgsl

override WORKGROUP_SIZE: u32 = 64u;

struct Params { c: u32, first: u32, table_rows: u32, scale: f32, with_positions: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;           // (N)
@group(0) @binding(2) var<storage, read> weight: array<Weight>;      // (table_rows, C), the table
@group(0) @binding(3) var<storage, read> positions: array<f32>;      // (S, C)
@group(0) @binding(4) var<storage, read_write> y: array<f32>;        // (N, C)

@compute @workgroup_size(WORKGROUP_SIZE)
fn embed(@builtin(global_invocation_id) id: vec3<u32>) {
    let c = id.x;
    let n = id.y;
    let index = rows[n].token - params.first; // wraps, and so fails the test, when below first
    if c >= params.c || index >= params.table_rows {
        return;
    }
    var value = params.scale * weight_at(index, c);
    if params.with_positions != 0u {
        value += positions[rows[n].pos * params.c + c];
    }
    y[n * params.c + c] = value;
}
