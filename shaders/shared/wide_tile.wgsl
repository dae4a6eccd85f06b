// wide_tile: one step of a 64 x 64 tile of a matrix product, by 8 x 8 invocations that make 8 x 8 outputs
// each: rows 4 * (i / 8).. and 32 further on, columns 4 * (i % 8).. and 32 further on. Sums are f32, in order
// of depth. The shader fills both tiles, with barriers before and after.

const WIDE: u32 = 64u;
const STEP: u32 = 16u;                                               // of depth

var<workgroup> wide_left: array<vec4<f32>, 256>;                     // at wide_slot(depth, row / 4)
var<workgroup> wide_right: array<vec4<f32>, 256>;                    // at wide_slot(depth, column / 4)

// Four 4 x 4 blocks: upper and lower rows, left and right columns. Column r of each is row r.
struct Wide { upper_left: mat4x4<f32>, upper_right: mat4x4<f32>, lower_left: mat4x4<f32>, lower_right: mat4x4<f32> }

// Turned by depth, so that neither four depths of many fours nor many fours of one depth meet in a bank.
fn wide_slot(depth: u32, four: u32) -> u32 {
    return depth * 16u + (four ^ (2u * (depth / 4u)));
}

// Depths 4·d4 .. 4·d4 + 3 of rows 4·four .. 4·four + 3: column r of `values` is row r.
fn put_left_four(d4: u32, four: u32, values: mat4x4<f32>) {
    let turned = transpose(values);
    wide_left[wide_slot(4u * d4, four)] = turned[0];
    wide_left[wide_slot(4u * d4 + 1u, four)] = turned[1];
    wide_left[wide_slot(4u * d4 + 2u, four)] = turned[2];
    wide_left[wide_slot(4u * d4 + 3u, four)] = turned[3];
}

// The same of columns 4·four .. 4·four + 3: column r of `values` is column r.
fn put_right_four(d4: u32, four: u32, values: mat4x4<f32>) {
    let turned = transpose(values);
    wide_right[wide_slot(4u * d4, four)] = turned[0];
    wide_right[wide_slot(4u * d4 + 1u, four)] = turned[1];
    wide_right[wide_slot(4u * d4 + 2u, four)] = turned[2];
    wide_right[wide_slot(4u * d4 + 3u, four)] = turned[3];
}

// Columns 4·four .. 4·four + 3 at one depth.
fn put_right_row(depth: u32, four: u32, values: vec4<f32>) {
    wide_right[wide_slot(depth, four)] = values;
}

// sums + Σ left[depth][row] · right[depth][column]; without the lower rows where `n_rows` are not so many.
fn add_wide_tiles(i: u32, n_rows: u32, sums: Wide) -> Wide {
    var next = sums;
    let row = i / 8u;
    let column = i % 8u;
    for (var depth = 0u; depth < STEP; depth++) {
        let right_0 = wide_right[wide_slot(depth, column)];
        let right_1 = wide_right[wide_slot(depth, 8u + column)];
        let upper = wide_left[wide_slot(depth, row)];
        next.upper_left[0] += upper.x * right_0;
        next.upper_left[1] += upper.y * right_0;
        next.upper_left[2] += upper.z * right_0;
        next.upper_left[3] += upper.w * right_0;
        next.upper_right[0] += upper.x * right_1;
        next.upper_right[1] += upper.y * right_1;
        next.upper_right[2] += upper.z * right_1;
        next.upper_right[3] += upper.w * right_1;
        if n_rows > 32u {
            let lower = wide_left[wide_slot(depth, 8u + row)];
            next.lower_left[0] += lower.x * right_0;
            next.lower_left[1] += lower.y * right_0;
            next.lower_left[2] += lower.z * right_0;
            next.lower_left[3] += lower.w * right_0;
            next.lower_right[0] += lower.x * right_1;
            next.lower_right[1] += lower.y * right_1;
            next.lower_right[2] += lower.z * right_1;
            next.lower_right[3] += lower.w * right_1;
        }
    }
    return next;
}
