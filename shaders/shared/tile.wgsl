// tile: one step of a 32 x 32 tile of a matrix product, by 8 x 8 invocations that make 4 x 4
// outputs each: rows 4 * (i / 8).., columns 4 * (i % 8)... Sums are f32, in order of depth.
// The shader fills both tiles through put_left and put_right, with barriers before and after.
// An invocation puts whole vectors: a store to one component may touch its neighbours.

const TILE: u32 = 32u;
const DEPTH: u32 = 16u;
const FOURS: u32 = 128u;                                             // DEPTH * TILE / 4

var<workgroup> left_tile: array<vec4<f32>, FOURS>;                   // at tile_slot(depth, row / 4)
var<workgroup> right_tile: array<vec4<f32>, FOURS>;                  // at tile_slot(depth, column / 4)

// Turned by depth, so that neither one four at many depths nor many fours at one meet in a bank.
fn tile_slot(depth: u32, four: u32) -> u32 {
    return depth * 8u + (four ^ (depth % 8u));
}

// Rows 4·four .. 4·four + 3.
fn put_left(depth: u32, four: u32, values: vec4<f32>) {
    left_tile[tile_slot(depth, four)] = values;
}

// Columns 4·four .. 4·four + 3.
fn put_right(depth: u32, four: u32, values: vec4<f32>) {
    right_tile[tile_slot(depth, four)] = values;
}

// sums[a][b] += Σ left[depth][row a] · right[depth][column b]
fn add_tiles(i: u32, sums: mat4x4<f32>) -> mat4x4<f32> {
    var next = sums;
    for (var depth = 0u; depth < DEPTH; depth++) {
        let left = left_tile[tile_slot(depth, i / 8u)];
        let right = right_tile[tile_slot(depth, i % 8u)];
        next[0] += left.x * right;
        next[1] += left.y * right;
        next[2] += left.z * right;
        next[3] += left.w * right;
    }
    return next;
}
