//! Patterns that tokenizers cut and replace by: a parser, and a matcher that tries and goes back.
//! Not all of regular expressions: no anchors, no references. What is not read is refused.
//!
//! Leftmost, first alternative, as backtracking engines have it. Work is bounded: a pattern that
//! looks or goes back too often on a text matches no further there, as in `fancy-regex`.

mod parse;

use super::unicode::{self, Ranges};
use crate::order::sort_by_key;
use std::sync::Arc;

/// Steps that one search may take, for each byte of the text, and at least.
const STEPS: usize = 64;
const LEAST_STEPS: usize = 1 << 20;

/// Most repetitions that are counted.
const MOST: u32 = 1000;

/// Most levels of the stack that a match may take.
const DEEPEST_MATCH: u32 = 1000;

/// A set of characters.
#[derive(Debug)]
struct Set {
    ascii: u128,
    /// Sorted, apart.
    ranges: Ranges,
}

impl Set {
    fn new(mut ranges: Ranges) -> Self {
        sort_by_key(&mut ranges, |range| *range);
        let mut merged = Ranges::with_capacity(ranges.len());
        for (start, end) in ranges {
            match merged.last_mut() {
                Some((_, last)) if start as u32 <= *last as u32 + 1 => *last = end.max(*last),
                _ => merged.push((start, end)),
            }
        }
        let in_merged = |byte: &u8| merged.iter().any(|&(a, b)| (a..=b).contains(&char::from(*byte)));
        let ascii = (0..128u8).filter(in_merged).fold(0, |set, byte| set | 1 << byte);
        Self { ascii, ranges: merged }
    }

    fn has(&self, c: char) -> bool {
        match c.is_ascii() {
            true => self.ascii >> c as u32 & 1 == 1,
            false => unicode::is_in(&self.ranges, c),
        }
    }

    /// Everything else. Surrogates are no characters.
    fn inverted(&self) -> Ranges {
        let mut all = Ranges::new();
        let mut next = Some('\0');
        for &(start, end) in &self.ranges {
            if let (Some(from), Some(to)) = (next.filter(|&from| from < start), before(start)) {
                all.push((from, to));
            }
            next = after(end);
        }
        all.extend(next.map(|from| (from, char::MAX)));
        all
    }
}

fn before(c: char) -> Option<char> {
    if c == '\u{e000}' { Some('\u{d7ff}') } else { char::from_u32((c as u32).checked_sub(1)?) }
}

fn after(c: char) -> Option<char> {
    if c == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(c as u32 + 1) }
}

#[derive(Clone, Debug)]
enum Node {
    One(Arc<Set>),
    All(Vec<Node>),
    Any(Vec<Node>),
    Repeat {
        node: Box<Node>,
        least: u32,
        most: u32,
        how: How,
    },
    /// What follows is, or is not, this.
    Ahead {
        node: Box<Node>,
        is: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Greedy,
    Lazy,
    Possessive,
}

/// A pattern, ready to search.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Sought);

#[derive(Clone, Debug)]
enum Sought {
    Text(String),
    Regex(Node),
}

impl Pattern {
    /// `None` if the pattern has what is not read here, matches the empty text, or would take too deep a stack.
    pub(super) fn new(pattern: &str) -> Option<Self> {
        let node = parse::parse(pattern)?;
        (shortest(&node) > 0 && deepest(&node) <= DEEPEST_MATCH).then_some(Self(Sought::Regex(node)))
    }

    /// The text itself.
    pub(super) fn literal(text: &str) -> Self {
        Self(Sought::Text(text.to_owned()))
    }

    /// The matches in a text, one after the other.
    pub(super) fn each(&self, text: &str, mut found: impl FnMut(usize, usize)) {
        let node = match &self.0 {
            Sought::Text(sought) => {
                return text.match_indices(sought).for_each(|(at, sought)| found(at, at + sought.len()));
            }
            Sought::Regex(node) => node,
        };
        let mut search = Search { text, left: text.len().saturating_mul(STEPS).max(LEAST_STEPS) };
        let mut at = 0;
        while at < text.len() && search.left > 0 {
            match search.node(node, at, &mut |_, end| Some(end)) {
                Some(end) => {
                    found(at, end);
                    at = end;
                }
                None => at += search.char_at(at).map_or(1, char::len_utf8),
            }
        }
    }
}

/// The fewest characters of a match.
fn shortest(node: &Node) -> u32 {
    match node {
        Node::One(_) => 1,
        Node::All(nodes) => nodes.iter().fold(0, |sum, node| shortest(node).saturating_add(sum)),
        Node::Any(nodes) => nodes.iter().map(shortest).min().unwrap_or(0),
        Node::Repeat { node, least, .. } => shortest(node).saturating_mul(*least),
        Node::Ahead { .. } => 0,
    }
}

/// The most levels that matching takes: what follows a node is matched on top of it.
fn deepest(node: &Node) -> u32 {
    match node {
        Node::One(_) => 1,
        Node::All(nodes) => nodes.iter().map(deepest).fold(1, u32::saturating_add),
        Node::Any(nodes) => nodes.iter().map(deepest).max().unwrap_or(0).saturating_add(1),
        Node::Ahead { node, .. } => deepest(node).saturating_add(1),
        Node::Repeat { node, most, how, .. } => match (&**node, how) {
            (Node::One(_), How::Greedy | How::Possessive) | (_, How::Possessive) => {
                deepest(node).saturating_add(1)
            }
            _ => deepest(node).saturating_add(1).saturating_mul(*most),
        },
    }
}

/// What must match after a node, from there; gives the end of it all.
type Then<'t, 'f> = &'f mut dyn FnMut(&mut Search<'t>, usize) -> Option<usize>;

struct Search<'t> {
    text: &'t str,
    /// Steps that are left: over a character in a repetition, to another branch, or back.
    left: usize,
}

impl<'t> Search<'t> {
    fn char_at(&self, at: usize) -> Option<char> {
        match self.text.as_bytes().get(at)? {
            byte if byte.is_ascii() => Some(char::from(*byte)),
            _ => self.text.get(at..)?.chars().next(),
        }
    }

    fn step(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left > 0
    }

    fn node(&mut self, node: &Node, at: usize, then: Then<'t, '_>) -> Option<usize> {
        match node {
            Node::One(set) => match self.char_at(at) {
                Some(c) if set.has(c) => then(self, at + c.len_utf8()),
                _ => None,
            },
            Node::All(nodes) => self.all(nodes, at, then),
            Node::Any(nodes) => {
                nodes.iter().find_map(|node| if self.step() { self.node(node, at, then) } else { None })
            }
            Node::Ahead { node, is } => {
                let there = self.node(node, at, &mut |_, end| Some(end)).is_some();
                if there == *is { then(self, at) } else { None }
            }
            Node::Repeat { node, least, most, how } => self.repeat(node, (*least, *most), *how, at, then),
        }
    }

    fn all(&mut self, nodes: &[Node], at: usize, then: Then<'t, '_>) -> Option<usize> {
        match nodes {
            [] => then(self, at),
            [node] => self.node(node, at, then),
            [node, rest @ ..] => self.node(node, at, &mut |search, at| search.all(rest, at, then)),
        }
    }

    /// Repeats one character in a loop; groups are tried as often as the stack allows (`MOST`).
    fn repeat(
        &mut self,
        node: &Node,
        (least, most): (u32, u32),
        how: How,
        at: usize,
        then: Then<'t, '_>,
    ) -> Option<usize> {
        if let (Node::One(set), true) = (node, how != How::Lazy) {
            let (mut count, mut end) = (0, at);
            while count < most
                && let Some(c) = self.char_at(end)
                && set.has(c)
                && self.step()
            {
                end += c.len_utf8();
                count += 1;
            }
            loop {
                if count < least {
                    return None;
                }
                let done = then(self, end);
                if done.is_some() || how == How::Possessive || count == least || !self.step() {
                    return done;
                }
                end -= 1;
                while !self.text.is_char_boundary(end) {
                    end -= 1;
                }
                count -= 1;
            }
        }
        if how == How::Possessive {
            let (mut count, mut end) = (0, at);
            while count < most
                && let Some(next) = self.node(node, end, &mut |_, end| Some(end))
                && next > end
                && self.step()
            {
                (count, end) = (count + 1, next);
            }
            return if count < least { None } else { then(self, end) };
        }
        let most = most.min(MOST);
        let again: Then<'t, '_> = &mut |search, next| match next > at || least > 0 {
            true => search.repeat(node, (least.saturating_sub(1), most.saturating_sub(1)), how, next, then),
            false => None,
        };
        if least > 0 {
            return self.node(node, at, again);
        }
        if !self.step() {
            return None;
        }
        if how == How::Greedy {
            let more = if most > 0 { self.node(node, at, again) } else { None };
            more.or_else(|| then(self, at))
        } else {
            then(self, at).or_else(|| {
                if most > 0 {
                    self.node(node, at, &mut |search, next| {
                        search.repeat(node, (0, most - 1), how, next, then)
                    })
                } else {
                    None
                }
            })
        }
    }
}
