// tile: one step of a 32 x 32 tile of a matrix product, by 8 x 8 invocations that make 4 x 4
// outputs each: rows 4 * (i / 8).., columns 4 * (i % 8)... Sums are f32, in order of depth.
// The shader fills both tiles through put_left and put_right, with barriers before and after.

const TILE: u32 = 32u;
const DEPTH: u32 = 16u;

var<workgroup> left_tile: array<vec4<f32>, 128>;                     // [depth][row / 4]
var<workgroup> right_tile: array<vec4<f32>, 128>;                    // [depth][column / 4]

fn put_left(depth: u32, row: u32, value: f32) {
    left_tile[depth * 8u + row / 4u][row % 4u] = value;
}

fn put_right(depth: u32, column: u32, value: f32) {
    right_tile[depth * 8u + column / 4u][column % 4u] = value;
}

// sums[a][b] += Σ left[depth][row a] · right[depth][column b]
fn add_tiles(i: u32, sums: mat4x4<f32>) -> mat4x4<f32> {
    var next = sums;
    for (var depth = 0u; depth < DEPTH; depth++) {
        let left = left_tile[depth * 8u + i / 8u];
        let right = right_tile[depth * 8u + i % 8u];
        next[0] += left.x * right;
        next[1] += left.y * right;
        next[2] += left.z * right;
        next[3] += left.w * right;
    }
    return next;
}
