// rank: which block of a row's mix a rank belongs to.
// Needs a binding mixes, shared/mix.wgsl.

// Index of the block of line `mix` that holds `rank`, or MAX_BLOCKS where it is off.
fn block_of(mix: u32, rank: u32) -> u32 {
    for (var k = 0u; k < mixes[mix].n_blocks; k++) {
        let block = mixes[mix].blocks[k];
        if rank >= first_rank(block) && rank < end_rank(block) {
            return k;
        }
    }
    return MAX_BLOCKS;
}
