// ranks: which rows of a stacked A (parts·R, C) a mix has switched on, and their γ.
// Needs the binding mixes, shared/mix.wgsl.

struct FourRanks { weight: vec4<f32>, on: vec4<bool> }

// Rows first .. first + 3, which are of one part: R and first are multiples of 4.
fn four_ranks(mix: u32, first: u32, ranks: u32, rows_of_a: u32) -> FourRanks {
    var four = FourRanks(vec4(0.0), vec4(false));
    for (var k = 0u; k < mixes[mix].n_blocks && first < rows_of_a; k++) {
        let block = mixes[mix].blocks[k];
        let rank = vec4(first % ranks) + vec4(0u, 1u, 2u, 3u);
        let inside = (rank >= vec4(first_rank(block))) & (rank < vec4(end_rank(block)));
        four.weight = select(four.weight, vec4(block.weight), inside);
        four.on = four.on | inside;
    }
    return four;
}

// Whether any of the rows first .. first + count - 1 is on.
fn any_rank(mix: u32, first: u32, count: u32, ranks: u32) -> bool {
    for (var k = 0u; k < mixes[mix].n_blocks; k++) {
        let block = mixes[mix].blocks[k];
        for (var part = first / ranks * ranks; part < first + count; part += ranks) {
            if part + first_rank(block) < first + count && part + end_rank(block) > first {
                return true;
            }
        }
    }
    return false;
}
