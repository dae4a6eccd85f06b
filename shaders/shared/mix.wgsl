// mix: the blocks of ranks that act on a row; the fields of `Mix` and `Block` in
// src/kernels/control.rs.

const MAX_BLOCKS: u32 = 5u;

struct Block { ranks: u32, adapter: u32, weight: f32 }

struct Mix { n_blocks: u32, blocks: array<Block, MAX_BLOCKS> }

// Whether the adapter has gains or shifts.
fn is_affine(block: Block) -> bool {
    return (block.adapter >> 16u) != 0u;
}

// Its index among them.
fn adapter_of(block: Block) -> u32 {
    return block.adapter & 0xffffu;
}

fn first_rank(block: Block) -> u32 {
    return block.ranks & 0xffffu;
}

// One past the last.
fn end_rank(block: Block) -> u32 {
    return first_rank(block) + (block.ranks >> 16u);
}
