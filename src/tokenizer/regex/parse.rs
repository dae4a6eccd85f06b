//! A pattern, read.
//! Not a search: `mod.rs` has it.

use super::super::unicode::{self, Ranges};
use super::{How, MOST, Node, Set};
use std::collections::HashMap;
use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

/// How deep groups may nest.
const DEEPEST: u32 = 32;

/// Where a pattern was not understood.
struct Unread;

/// The pattern's meaning; `None` if it has what is not read here.
pub(super) fn parse(pattern: &str) -> Option<Node> {
    let rest = pattern.chars().peekable();
    let mut parser = Parser { rest, any_case: false, depth: 0, known: HashMap::new() };
    let node = parser.any().ok()?;
    parser.rest.next().is_none().then_some(node)
}

struct Parser<'p> {
    rest: Peekable<Chars<'p>>,
    any_case: bool,
    depth: u32,
    /// Classes that the pattern named before.
    known: HashMap<String, Ranges>,
}

type Read<T> = std::result::Result<T, Unread>;

impl Parser<'_> {
    fn takes(&mut self, c: char) -> bool {
        self.rest.next_if_eq(&c).is_some()
    }

    fn expect(&mut self, c: char) -> Read<()> {
        if self.takes(c) { Ok(()) } else { Err(Unread) }
    }

    fn any(&mut self) -> Read<Node> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Unread);
        }
        let mut branches = vec![self.all()?];
        while self.takes('|') {
            branches.push(self.all()?);
        }
        self.depth -= 1;
        Ok(if branches.len() == 1 { branches.remove(0) } else { Node::Any(branches) })
    }

    fn all(&mut self) -> Read<Node> {
        let mut nodes = Vec::new();
        while !matches!(self.rest.peek(), None | Some('|' | ')')) {
            let node = self.one()?;
            nodes.push(self.repeated(node)?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::All(nodes) })
    }

    fn repeated(&mut self, node: Node) -> Read<Node> {
        let (least, most) = match self.rest.peek() {
            Some('?') => (0, 1),
            Some('*') => (0, u32::MAX),
            Some('+') => (1, u32::MAX),
            Some('{') => {
                self.rest.next();
                let least = self.number()?;
                let most = match self.takes(',') {
                    false => least,
                    true if self.rest.peek() == Some(&'}') => u32::MAX,
                    true => self.number()?,
                };
                if self.rest.peek() != Some(&'}') || least > most {
                    return Err(Unread);
                }
                (least, most)
            }
            _ => return Ok(node),
        };
        self.rest.next();
        let how = match self.rest.peek() {
            Some('?') => How::Lazy,
            Some('+') => How::Possessive,
            Some('*' | '{') => return Err(Unread),
            _ => How::Greedy,
        };
        if how != How::Greedy {
            self.rest.next();
        }
        if matches!(self.rest.peek(), Some('?' | '*' | '+' | '{')) {
            return Err(Unread);
        }
        // A group without end is a level of the stack each time.
        if how != How::Possessive && most > MOST && (!matches!(node, Node::One(_)) || how == How::Lazy) {
            return Err(Unread);
        }
        Ok(Node::Repeat { node: Box::new(node), least, most, how })
    }

    fn number(&mut self) -> Read<u32> {
        let mut digits = String::new();
        while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        digits.parse().ok().filter(|&n| n <= MOST).ok_or(Unread)
    }

    fn one(&mut self) -> Read<Node> {
        let ranges = match self.rest.next().ok_or(Unread)? {
            '(' => return self.group(),
            '[' => self.set()?,
            '.' => Set::new(vec![('\n', '\n')]).inverted(),
            '\\' => self.escape()?,
            '^' | '$' | '*' | '+' | '?' | '{' | '}' | ']' => return Err(Unread),
            c => vec![(c, c)],
        };
        Ok(Node::One(Arc::new(Set::new(self.cases(ranges)?))))
    }

    fn group(&mut self) -> Read<Node> {
        let outside = self.any_case;
        let mut ahead = None;
        if self.takes('?') {
            match self.rest.next() {
                Some(':') => {}
                Some('i') => {
                    self.expect(':')?;
                    self.any_case = true;
                }
                Some(c @ ('=' | '!')) => ahead = Some(c == '='),
                _ => return Err(Unread),
            }
        }
        let node = self.any()?;
        self.expect(')')?;
        self.any_case = outside;
        Ok(match ahead {
            Some(is) => Node::Ahead { node: Box::new(node), is },
            None => node,
        })
    }

    /// Letters in both cases, and the two characters beside them that fold to ASCII.
    fn cases(&self, ranges: Ranges) -> Read<Ranges> {
        if !self.any_case {
            return Ok(ranges);
        }
        let mut all = ranges.clone();
        for (start, end) in ranges {
            if start != end {
                return Err(Unread);
            }
            match start {
                'k' | 'K' => all.push(('\u{212a}', '\u{212a}')),
                's' | 'S' => all.push(('\u{17f}', '\u{17f}')),
                c if !c.is_ascii() => return Err(Unread),
                _ => {}
            }
            let other = if start.is_ascii_lowercase() {
                start.to_ascii_uppercase()
            } else {
                start.to_ascii_lowercase()
            };
            all.push((other, other));
        }
        Ok(all)
    }

    fn class(&mut self, name: &str, inverted: bool) -> Read<Ranges> {
        if !self.known.contains_key(name) {
            self.known.insert(name.to_owned(), unicode::class(name).ok_or(Unread)?);
        }
        let ranges = self.known.get(name).cloned().unwrap_or_default();
        Ok(if inverted { Set::new(ranges).inverted() } else { ranges })
    }

    fn escape(&mut self) -> Read<Ranges> {
        let c = match self.rest.next().ok_or(Unread)? {
            c @ ('s' | 'S' | 'w' | 'W') => {
                return self.class(&c.to_lowercase().to_string(), c.is_uppercase());
            }
            c @ ('d' | 'D') => return self.class("Nd", c.is_uppercase()),
            c @ ('p' | 'P') => {
                let mut name = String::new();
                if self.takes('{') {
                    while let Some(c) = self.rest.next_if(|&c| c != '}') {
                        name.push(c);
                    }
                    self.expect('}')?;
                } else {
                    name.extend(self.rest.next());
                }
                let (name, not) = name.strip_prefix('^').map_or((name.as_str(), false), |name| (name, true));
                return self.class(name, (c == 'P') != not);
            }
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'f' => '\u{c}',
            'v' => '\u{b}',
            c @ ('x' | 'u') => {
                let mut digits = String::new();
                if self.takes('{') {
                    while let Some(digit) = self.rest.next_if(char::is_ascii_hexdigit) {
                        digits.push(digit);
                    }
                    self.expect('}')?;
                } else {
                    for _ in 0..if c == 'x' { 2 } else { 4 } {
                        digits.push(self.rest.next_if(char::is_ascii_hexdigit).ok_or(Unread)?);
                    }
                }
                u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32).ok_or(Unread)?
            }
            c if c.is_ascii_alphanumeric() => return Err(Unread),
            c => c,
        };
        Ok(vec![(c, c)])
    }

    /// What stands in brackets, the first read.
    fn set(&mut self) -> Read<Ranges> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Unread);
        }
        let inverted = self.takes('^');
        let mut ranges = Ranges::new();
        loop {
            let item = match self.rest.next().ok_or(Unread)? {
                ']' if !ranges.is_empty() => break,
                '[' if self.rest.peek() == Some(&':') => return Err(Unread),
                '[' => self.set()?,
                '&' if self.takes('&') => {
                    self.expect('[')?;
                    let kept = Set::new(self.set()?);
                    self.expect(']')?;
                    let mut none = kept.inverted();
                    none.extend(Set::new(ranges).inverted());
                    ranges = Set::new(none).inverted();
                    break;
                }
                '\\' => self.escape()?,
                c @ (']' | '~') => match c {
                    '~' if self.rest.peek() != Some(&'~') => vec![(c, c)],
                    _ => return Err(Unread),
                },
                c => vec![(c, c)],
            };
            let start = match item[..] {
                [(a, b)] if a == b && self.rest.peek() == Some(&'-') => a,
                _ => {
                    ranges.extend(item);
                    continue;
                }
            };
            self.rest.next();
            let end = match self.rest.peek() {
                Some(']') => {
                    ranges.extend([(start, start), ('-', '-')]);
                    continue;
                }
                Some('\\') => {
                    self.rest.next();
                    match self.escape()?[..] {
                        [(a, b)] if a == b => a,
                        _ => return Err(Unread),
                    }
                }
                Some('[' | '&' | '-') | None => return Err(Unread),
                Some(_) => self.rest.next().ok_or(Unread)?,
            };
            if start > end {
                return Err(Unread);
            }
            ranges.push((start, end));
        }
        self.depth -= 1;
        Ok(if inverted { Set::new(ranges).inverted() } else { ranges })
    }
}
