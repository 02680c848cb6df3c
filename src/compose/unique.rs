//! When two items of a list are the same thing, so that the later one replaces the earlier.

use std::collections::HashMap;

use super::tree::Node;

/// What makes an item what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UniqueBy {
    /// The text before the first `=`.
    Key,
    /// All of it.
    Whole,
    /// Where it is put inside the container.
    Target,
    /// Where a config or secret is put; this folder when the item does not say.
    Mount(&'static str),
    /// Address, published port, port, protocol.
    Port,
    /// A file.
    Path,
}

/// Drops earlier items that a later one replaces; the later one takes the earlier one's place.
pub(crate) fn dedupe(items: &mut Vec<Node>, by: UniqueBy) {
    let mut seen: HashMap<String, usize> = HashMap::with_capacity(items.len());
    let mut kept: Vec<Node> = Vec::with_capacity(items.len());
    for item in items.drain(..) {
        let Some(identity) = identity(&item, by) else {
            kept.push(item);
            continue;
        };
        match seen.get(&identity) {
            Some(index) => kept[*index] = item,
            None => {
                seen.insert(identity, kept.len());
                kept.push(item);
            }
        }
    }
    *items = kept;
}

fn identity(item: &Node, by: UniqueBy) -> Option<String> {
    let field = |key: &str| item.get(key).and_then(Node::as_scalar).map(|one| one.display());
    match by {
        UniqueBy::Key => {
            let text = item.as_scalar()?.display();
            Some(text.split_once('=').map_or(text.as_str(), |(key, _)| key).to_owned())
        }
        UniqueBy::Whole => Some(item.as_scalar()?.display()),
        UniqueBy::Target => field("target"),
        UniqueBy::Path => field("path"),
        UniqueBy::Mount(folder) => {
            field("target").or_else(|| Some(format!("{folder}/{}", field("source")?)))
        }
        UniqueBy::Port => {
            let host = field("host_ip").unwrap_or_else(|| "0.0.0.0".to_owned());
            let protocol = field("protocol").unwrap_or_else(|| "tcp".to_owned());
            let published = field("published").unwrap_or_default();
            Some(format!("{host}:{published}:{}/{protocol}", field("target")?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::source::Span;
    use crate::compose::tree::{Node, Value};

    fn port(published: &str, target: i128, extra: Option<(&'static str, &str)>) -> Node {
        let at = Span::default();
        let mut pairs =
            vec![("published", Node::text(published, at)), ("target", Node::int(target, at))];
        pairs.extend(extra.map(|(key, value)| (key, Node::text(value, at))));
        Node::map(pairs, at)
    }

    #[test]
    fn later_items_take_the_place_of_earlier_ones() {
        let at = Span::default();
        let mut items: Vec<Node> =
            ["A=1", "B=2", "A=3"].iter().map(|text| Node::text(*text, at)).collect();
        dedupe(&mut items, UniqueBy::Key);
        let texts: Vec<&str> = items.iter().filter_map(Node::as_text).collect();
        assert_eq!(texts, ["A=3", "B=2"]);
    }

    #[test]
    fn ports_are_the_same_when_address_ports_and_protocol_are() {
        let mut items = vec![
            port("80", 80, None),
            port("80", 80, Some(("protocol", "tcp"))),
            port("80", 80, Some(("protocol", "udp"))),
            port("80", 80, Some(("host_ip", "127.0.0.1"))),
            port("81", 80, None),
        ];
        dedupe(&mut items, UniqueBy::Port);
        assert_eq!(items.len(), 4);
    }

    #[test]
    fn items_without_identity_all_stay() {
        let at = Span::default();
        let mut items = vec![Node::new(Value::List(Vec::new()), at); 2];
        dedupe(&mut items, UniqueBy::Target);
        assert_eq!(items.len(), 2);
    }
}
