// heads: where a head of [h heads of q | k of k | k of v] is in a row: there, or, where rows are grouped, in its
// group, each of which is h / k heads of q, then k, then v.

fn place_of(head: u32, h: u32, k: u32, grouped: u32) -> u32 {
    if grouped == 0u {
        return head;
    }
    let of_group = h / k;
    if head < h {
        return head / of_group * (of_group + 2u) + head % of_group;
    }
    let other = head - h;
    return other % k * (of_group + 2u) + of_group + other / k;
}
