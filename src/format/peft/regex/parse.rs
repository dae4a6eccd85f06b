//! From the text of a regular expression to its parts.
//! Not their meaning: that is the program's, one floor up.

use super::{At, BROKEN, ENDS_IN_BACKSLASH, Item, Set};

/// How deep groups may lie in each other.
const MAX_DEPTH: usize = 64;

#[derive(Clone, Debug)]
pub(super) enum Node {
    Char(Set),
    At(At),
    All(Vec<Node>),
    Any(Vec<Node>),
    Repeat { node: Box<Node>, least: usize, most: Option<usize>, lazy: bool },
    Look { node: Box<Node>, behind: bool, negated: bool },
}

/// Errors with why it is not read.
pub(super) fn parse(pattern: &str, any_case: bool) -> Result<Node, &'static str> {
    let mut parser = Parser { rest: pattern.chars().rev().collect(), any_case, depth: 0 };
    let node = parser.any()?;
    // Else a `)` is too many.
    if parser.rest.is_empty() { Ok(node) } else { Err(BROKEN) }
}

struct Parser {
    /// The last character is next.
    rest: Vec<char>,
    any_case: bool,
    depth: usize,
}

impl Parser {
    fn next_if(&mut self, expected: char) -> bool {
        let is_next = self.rest.last() == Some(&expected);
        if is_next {
            self.rest.pop();
        }
        is_next
    }

    fn next_if_all(&mut self, expected: &str) -> bool {
        let is_next = expected.chars().eq(self.rest.iter().rev().take(expected.len()).copied());
        if is_next {
            self.rest.truncate(self.rest.len() - expected.len());
        }
        is_next
    }

    fn any(&mut self) -> Result<Node, &'static str> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("its groups lie too deep");
        }
        let mut branches = vec![self.all()?];
        while self.next_if('|') {
            branches.push(self.all()?);
        }
        self.depth -= 1;
        Ok(Node::Any(branches))
    }

    fn all(&mut self) -> Result<Node, &'static str> {
        let mut nodes = Vec::new();
        while let Some(c) = self.rest.last().copied().filter(|c| !matches!(c, '|' | ')')) {
            self.rest.pop();
            let Some(node) = self.atom(c)? else { continue };
            nodes.push(self.repeated(node)?);
        }
        Ok(Node::All(nodes))
    }

    /// Nothing for a comment.
    fn atom(&mut self, c: char) -> Result<Option<Node>, &'static str> {
        Ok(Some(match c {
            '(' => return self.group(),
            '[' => self.char(self.rest.last() == Some(&'^'), Self::set)?,
            '\\' => match self.rest.pop().ok_or(ENDS_IN_BACKSLASH)? {
                'Z' => Node::At(At::VeryEnd),
                'A' => Node::At(At::Start),
                'b' => Node::At(At::Word(true)),
                'B' => Node::At(At::Word(false)),
                c => self.char(false, |_| Ok(vec![escaped(c)?]))?,
            },
            '^' => Node::At(At::Start),
            '$' => Node::At(At::End),
            '.' => Node::Char(Set { negated: true, ..Set::of(vec![Item::Range('\n', '\n')]) }),
            '{' => return Err("`{` starts no count; it needs a backslash"),
            '*' | '+' | '?' => return Err(BROKEN),
            c => self.char(false, |_| Ok(vec![Item::Range(c, c)]))?,
        }))
    }

    fn char(
        &mut self,
        negated: bool,
        items: impl FnOnce(&mut Self) -> Result<Vec<Item>, &'static str>,
    ) -> Result<Node, &'static str> {
        let any_case = self.any_case;
        Ok(Node::Char(Set { items: items(self)?, negated, any_case }))
    }

    /// What follows `(`.
    fn group(&mut self) -> Result<Option<Node>, &'static str> {
        let any_case = self.any_case;
        let mut look = None;
        if self.next_if('?') {
            if self.next_if('#') {
                while self.rest.pop().ok_or(BROKEN)? != ')' {}
                return Ok(None);
            }
            if self.next_if_all("i:") {
                self.any_case = true;
            } else if self.next_if_all("P<") {
                while self.rest.pop().ok_or(BROKEN)? != '>' {}
            } else if !self.next_if(':') {
                let kinds =
                    [("=", false, false), ("!", false, true), ("<=", true, false), ("<!", true, true)];
                look = kinds.into_iter().find(|(words, ..)| self.next_if_all(words));
                if look.is_none() {
                    return Err("a `(?…)` that is not read");
                }
            }
        }
        let node = self.any()?;
        if !self.next_if(')') {
            return Err(BROKEN);
        }
        self.any_case = any_case;
        let Some((_, behind, negated)) = look else { return Ok(Some(node)) };
        Ok(Some(Node::Look { node: Box::new(node), behind, negated }))
    }

    /// What follows `[`.
    fn set(&mut self) -> Result<Vec<Item>, &'static str> {
        const OPEN: &str = "a set is not closed";
        self.next_if('^');
        let mut items = Vec::new();
        loop {
            let c = self.rest.pop().ok_or(OPEN)?;
            let item = match c {
                // Where a set would be empty, `]` is one of it.
                ']' if !items.is_empty() => return Ok(items),
                '[' => return Err("`[` in a set needs a backslash"),
                '&' | '~' | '|' | '-' if self.rest.last() == Some(&c) => {
                    return Err("a set holds a doubled `&`, `~`, `|` or `-`");
                }
                '\\' => match self.rest.pop().ok_or(ENDS_IN_BACKSLASH)? {
                    'b' => Item::Range('\u{8}', '\u{8}'),
                    c => escaped(c)?,
                },
                c => Item::Range(c, c),
            };
            let [.., after, '-'] = self.rest[..] else {
                items.push(item);
                continue;
            };
            if after == ']' {
                items.push(item);
                continue;
            }
            self.rest.truncate(self.rest.len() - 2);
            let last = if after == '\\' {
                escaped(self.rest.pop().ok_or(OPEN)?)?
            } else {
                Item::Range(after, after)
            };
            match (item, last) {
                (Item::Range(from, _), Item::Range(to, _)) if from <= to => items.push(Item::Range(from, to)),
                _ => return Err(BROKEN),
            }
        }
    }

    /// A node with the repeat that follows it, if one does.
    fn repeated(&mut self, node: Node) -> Result<Node, &'static str> {
        let (least, most) = match self.rest.last() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => self.count()?,
            _ => return Ok(node),
        };
        self.rest.pop();
        let lazy = self.next_if('?');
        if matches!(node, Node::At(_)) || matches!(self.rest.last(), Some('*' | '+' | '?' | '{')) {
            return Err(BROKEN);
        }
        Ok(Node::Repeat { node: Box::new(node), least, most, lazy })
    }

    /// `{2}`, `{2,}` or `{2,3}`, up to its `}`; Python takes anything else for a plain `{`.
    fn count(&mut self) -> Result<(usize, Option<usize>), &'static str> {
        self.rest.pop();
        let end = self.rest.iter().rposition(|c| *c == '}');
        let inside: String = end.map_or_else(String::new, |end| self.rest.drain(end + 1..).rev().collect());
        let (least, most) = inside.split_once(',').unwrap_or((&inside, &inside));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if least.is_empty() || !digits(least) || !digits(most) {
            return Err("`{` starts no count; it needs a backslash");
        }
        let number = |text: &str| text.parse().map_err(|_| BROKEN);
        let (least, most) = (number(least)?, if most.is_empty() { None } else { Some(number(most)?) });
        if most.is_some_and(|most| most < least) { Err(BROKEN) } else { Ok((least, most)) }
    }
}

fn escaped(c: char) -> Result<Item, &'static str> {
    let one = |c: char| Ok(Item::Range(c, c));
    match c {
        'd' | 's' | 'w' => Ok(Item::Class(c, false)),
        'D' | 'S' | 'W' => Ok(Item::Class(c.to_ascii_lowercase(), true)),
        'n' => one('\n'),
        'r' => one('\r'),
        't' => one('\t'),
        'f' => one('\u{c}'),
        'v' => one('\u{b}'),
        '<' | '>' => Err("`\\<` and `\\>` need no backslash"),
        c if !c.is_ascii_alphanumeric() => one(c),
        _ => Err("a backslash before a letter or digit that is not read"),
    }
}
