//! How an input of the fuzzer says where a body is split.

/// The body behind the first bytes of an input, and the pieces into which they cut it: a byte that says how many cuts, then
/// the length of each piece. What has no such bytes is one piece.
pub fn split(input: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let Some((count, rest)) = input.split_first() else { return (&[], Vec::new()) };
    let (lengths, body) = rest.split_at(usize::from(count % 16).min(rest.len()));
    let (mut pieces, mut left) = (Vec::new(), body);
    for length in lengths {
        let (piece, rest) = left.split_at(usize::from(*length).min(left.len()));
        pieces.push(piece);
        left = rest;
    }
    pieces.push(left);
    (body, pieces)
}
