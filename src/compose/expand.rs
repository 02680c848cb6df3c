//! Short forms to long forms, one function a form. A value that is long already passes unchanged.

mod refuse;

use refuse::{distinct, no_fraction, not_text, only_text};

use super::budget::PORTS_MAX;
use super::hints;
use super::mounts;
use super::ports;
use super::source::Report;
use super::tree::{Entry, KeyPath, Kind, Map, Node, Scalar, Value};

/// Which short form a key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expand {
    /// `a` is `[a]`.
    TextToList,
    /// `[A=1, B]` is `{A: 1, B: }`.
    PairsToMap,
    /// `[a, b]` is `{a: , b: }`.
    ListToKeys,
    /// `depends_on: [a]`.
    ListToObjects,
    /// `a` is `{source: a}`.
    TextToSource,
    /// `a` is `{path: a}`.
    TextToPath,
    /// `a` is `{service: a}`.
    TextToService,
    /// `a` is `{cron: a}`.
    TextToCron,
    /// `/dev/a:/dev/b:rwm`.
    Device,
    /// `source:target:options`.
    Volume,
    /// `8080:80`.
    Ports,
    /// `a` is `{context: a}`.
    Build,
    /// `gpus: all`.
    Gpus,
    /// `all` is -1.
    AllToMinusOne,
    /// `a b` is `[CMD-SHELL, a b]`.
    HealthTest,
    /// A value is a list of one.
    PlainToList,
    /// A number is refused although it could be read.
    OnlyText,
    /// Text is refused although it could be read, also when a variable brings it.
    NotText,
    /// A number with a fraction is refused although it could be read.
    NoFraction,
    /// A list in which nothing may stand twice.
    Distinct,
    /// `extra_hosts`: one `host=address` text each.
    Hosts,
    /// `build.ssh`: one `id=path` text each.
    Ssh,
    /// `external: {name: a}` is `{external: true, name: a}`.
    External,
}

impl Expand {
    /// The long form; `None` after an error was reported.
    pub(crate) fn apply(self, node: Node, path: &KeyPath, report: &mut Report) -> Option<Node> {
        match self {
            Self::TextToList => Some(wrap_text(node)),
            Self::PlainToList => Some(wrap_scalar(node)),
            Self::PairsToMap => pairs_to_map(node, path, report),
            Self::ListToKeys => list_to_map(node, path, report, &|item| Node::null(item.at)),
            Self::ListToObjects => list_to_map(node, path, report, &|item| {
                let condition = Node::text("service_started", item.at);
                Node::map(
                    [("condition", condition), ("required", Node::bool(true, item.at))],
                    item.at,
                )
            }),
            Self::TextToSource => Some(under(node, "source")),
            Self::TextToPath => Some(under(node, "path")),
            Self::TextToService => Some(under(node, "service")),
            Self::TextToCron => Some(under(node, "cron")),
            Self::Build => Some(under(node, "context")),
            Self::Device => device(node, path, report),
            Self::Volume => volume(node, path, report),
            Self::Ports => Some(all_ports(node, path, report)),
            Self::Gpus => gpus(node, path, report),
            Self::AllToMinusOne => Some(match node.as_text() {
                Some(text) if text.eq_ignore_ascii_case("all") => Node::int(-1, node.at),
                _ => node,
            }),
            Self::HealthTest => Some(match node.as_text() {
                Some(_) => {
                    let at = node.at;
                    Node { tag: node.tag, ..list(vec![Node::text("CMD-SHELL", at), node], at) }
                }
                None => node,
            }),
            Self::OnlyText => only_text(node, path, report),
            Self::NotText => not_text(node, path, report),
            Self::NoFraction => no_fraction(node, path, report),
            Self::Distinct => distinct(&node, path, report).then_some(node),
            Self::Hosts if !distinct(&node, path, report) => None,
            Self::Ssh if !distinct(&node, path, report) => None,
            Self::Hosts => hosts(node, path, report),
            Self::Ssh => Some(joined_pairs(node)),
            Self::External => Some(external(node, path, report)),
        }
    }
}

fn list(items: Vec<Node>, at: super::source::Span) -> Node {
    Node::new(Value::List(items), at)
}

fn wrap_text(node: Node) -> Node {
    if node.as_text().is_none() {
        return node;
    }
    let (at, tag) = (node.at, node.tag);
    Node { tag, ..list(vec![node], at) }
}

fn wrap_scalar(node: Node) -> Node {
    if node.as_scalar().is_none() {
        return node;
    }
    let (at, tag) = (node.at, node.tag);
    Node { tag, ..list(vec![node], at) }
}

fn under(node: Node, key: &'static str) -> Node {
    if node.as_text().is_none() {
        return node;
    }
    let (at, tag) = (node.at, node.tag);
    Node { tag, ..Node::map([(key, node)], at) }
}

fn list_to_map(
    node: Node,
    path: &KeyPath,
    report: &mut Report,
    value: &dyn Fn(&Node) -> Node,
) -> Option<Node> {
    if !distinct(&node, path, report) {
        return None;
    }
    let Value::List(items) = node.value else { return Some(node) };
    let mut map = Map::with_capacity(items.len());
    for item in items {
        let Some(name) = item.as_text() else {
            let message =
                format!("an item of `{}` must be text, not {}", path.as_str(), item.describe());
            drop(report.error(item.at, message));
            return None;
        };
        map.insert(name.to_owned(), Entry { key: item.at, value: value(&item) });
    }
    Some(Node { value: Value::Map(map), at: node.at, tag: node.tag })
}

fn pairs_to_map(node: Node, path: &KeyPath, report: &mut Report) -> Option<Node> {
    let Value::List(items) = node.value else { return Some(node) };
    let mut map = Map::with_capacity(items.len());
    for item in items {
        let Some(text) = item.as_text() else {
            let message = format!(
                "an item of `{}` must be `KEY=value`, not {}",
                path.as_str(),
                item.describe()
            );
            let error = report.error(item.at, message);
            if let Some(hint) = hints::pair(&item) {
                drop(error.hint(hint));
            }
            return None;
        };
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Node::text(value, item.at)),
            None => (text, Node::null(item.at)),
        };
        if key.ends_with(char::is_whitespace) {
            let message = format!("variable `{}` has a space before its `=`", key.trim_end());
            drop(report.error(item.at, message).hint("remove the space"));
            return None;
        }
        map.insert(key.to_owned(), Entry { key: item.at, value });
    }
    Some(Node { value: Value::Map(map), at: node.at, tag: node.tag })
}

fn device(node: Node, path: &KeyPath, report: &mut Report) -> Option<Node> {
    let Some(text) = node.as_text() else { return Some(node) };
    let at = node.at;
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, target] => (source, target, "rwm"),
        [source, target, permissions] => (source, target, permissions),
        _ => {
            let message = format!("`{}` is not a device: `{text}`", path.as_str());
            drop(report.error(at, message).hint("write `source:target:permissions`"));
            return None;
        }
    };
    let target = if target.is_empty() { source } else { target };
    let pairs = [("source", source), ("target", target), ("permissions", permissions)];
    Some(Node::map(pairs.map(|(key, value)| (key, Node::text(value, at))), at))
}

fn volume(node: Node, path: &KeyPath, report: &mut Report) -> Option<Node> {
    let Some(text) = node.as_text() else { return Some(node) };
    let at = node.at;
    let mount = match mounts::parse(text) {
        Ok(mount) => mount,
        Err(reason) => {
            let message = format!("`{}` is not a mount: `{text}`: {reason}", path.as_str());
            drop(report.error(at, message).hint("write `source:target` or `source:target:ro`"));
            return None;
        }
    };
    let text = |value: String| Node::text(value, at);
    let mut pairs = vec![("type", text(if mount.bind { "bind" } else { "volume" }.to_owned()))];
    if !mount.source.is_empty() {
        pairs.push(("source", text(mount.source)));
    }
    pairs.push(("target", text(mount.target)));
    if mount.read_only {
        pairs.push(("read_only", Node::bool(true, at)));
    }
    let mut bind = Vec::new();
    bind.extend(mount.selinux.map(|value| ("selinux", text(value))));
    bind.extend(mount.propagation.map(|value| ("propagation", text(value))));
    if mount.bind {
        bind.push(("create_host_path", Node::bool(true, at)));
    }
    if !bind.is_empty() {
        pairs.push(("bind", Node::map(bind, at)));
    }
    if mount.nocopy {
        pairs.push(("volume", Node::map([("nocopy", Node::bool(true, at))], at)));
    } else if !mount.bind {
        pairs.push(("volume", Node::map([], at)));
    }
    Some(Node::map(pairs, at))
}

/// Every item that is short becomes one or, for a range, several long ones.
fn all_ports(mut node: Node, path: &KeyPath, report: &mut Report) -> Node {
    let Value::List(items) = &mut node.value else { return node };
    let mut long = Vec::with_capacity(items.len());
    for item in items.drain(..) {
        let short = match item.as_scalar() {
            Some(Scalar { kind: Kind::Int(_) | Kind::Float(_) | Kind::Text, .. }) => {
                item.as_scalar().map(Scalar::display)
            }
            _ => None,
        };
        let Some(short) = short else {
            long.push(item);
            continue;
        };
        let at = item.at;
        if report.budgets.ports.is_spent() {
            // It was said where they became too many.
            continue;
        }
        match ports::parse(&short) {
            Ok(ports) if !report.budgets.ports.take(ports.len()) => {
                let message = format!("the services have more than {PORTS_MAX} ports in all");
                drop(report.error(at, message).hint("name the ports that are needed alone"));
            }
            Ok(ports) => long.extend(ports.into_iter().map(|port| {
                let mut pairs = vec![("mode", Node::text("ingress", at))];
                if !port.host_ip.is_empty() {
                    pairs.push(("host_ip", Node::text(port.host_ip, at)));
                }
                pairs.push(("target", Node::int(port.target.into(), at)));
                if !port.published.is_empty() {
                    pairs.push(("published", Node::text(port.published, at)));
                }
                pairs.push(("protocol", Node::text(port.protocol, at)));
                Node::map(pairs, at)
            })),
            Err(reason) => {
                let message = format!("`{}` is not a port: `{short}`: {reason}", path.as_str());
                let error = report.error(at, message);
                drop(
                    error.hint("write `target`, `published:target` or `address:published:target`"),
                );
            }
        }
    }
    *items = long;
    node
}

fn gpus(node: Node, path: &KeyPath, report: &mut Report) -> Option<Node> {
    match node.as_text() {
        None => Some(node),
        Some("all") => {
            let at = node.at;
            let request = Node::map([("count", Node::text("all", at))], at);
            Some(Node { tag: node.tag, ..list(vec![request], at) })
        }
        Some(text) => {
            let message = format!("`{}` must be `all` or a list, not `{text}`", path.as_str());
            drop(report.error(node.at, message));
            None
        }
    }
}

fn hosts(node: Node, path: &KeyPath, report: &mut Report) -> Option<Node> {
    let (at, tag) = (node.at, node.tag);
    let mut pairs = Vec::new();
    match &node.value {
        Value::Scalar(_) => return Some(node),
        Value::Map(map) => {
            for (host, entry) in map {
                let addresses = entry.value.as_list().unwrap_or(std::slice::from_ref(&entry.value));
                for address in addresses {
                    let Some(scalar) = address.as_scalar() else {
                        let message =
                            format!("`{}.{host}` must be an address or a list", path.as_str());
                        drop(report.error(address.at, message));
                        return None;
                    };
                    pairs.push((host.clone(), scalar.display(), address.at));
                }
            }
        }
        Value::List(items) => {
            for item in items {
                let text = item.as_text().unwrap_or_default();
                let Some((host, addresses)) = text.split_once('=').or_else(|| text.split_once(':'))
                else {
                    let message = format!("`{}` needs `host=address`, not `{text}`", path.as_str());
                    drop(report.error(item.at, message));
                    return None;
                };
                for address in addresses.split(',') {
                    pairs.push((host.to_owned(), address.to_owned(), item.at));
                }
            }
        }
    }
    let mut texts = Vec::with_capacity(pairs.len());
    for (host, address, at) in pairs {
        if host.is_empty() || host.contains([':', '=']) {
            drop(report.error(at, format!("`{host}` is not a host name")));
            return None;
        }
        let bare = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        texts.push(Node::text(format!("{host}={}", bare.unwrap_or(&address)), at));
    }
    Some(Node { tag, ..list(texts, at) })
}

fn joined_pairs(node: Node) -> Node {
    let Value::Map(map) = &node.value else { return node };
    let join = |(key, entry): (&String, &Entry)| {
        let value = entry.value.as_scalar().map(Scalar::display).unwrap_or_default();
        let text = if value.is_empty() { key.clone() } else { format!("{key}={value}") };
        Node::text(text, entry.key)
    };
    Node { tag: node.tag, ..list(map.iter().map(join).collect(), node.at) }
}

fn external(mut node: Node, path: &KeyPath, report: &mut Report) -> Node {
    let Some(map) = node.as_map_mut() else { return node };
    let Some(Entry { value, .. }) = map.get_mut("external") else { return node };
    let Value::Map(_) = value.value else { return node };
    let at = value.at;
    let name = value.get("name").cloned();
    *value = Node::bool(true, at);
    let message = format!("`{}.external.name` is deprecated", path.as_str());
    drop(report.warning(at, message).hint("write `external: true` and `name:` beside it"));
    let Some(name) = name else { return node };
    let declared = map.get("name").and_then(|entry| entry.value.as_text().map(str::to_owned));
    match declared {
        None => {
            map.insert("name".to_owned(), Entry { key: name.at, value: name });
        }
        Some(declared) if Some(declared.as_str()) == name.as_text() => {}
        Some(_) => {
            let message = format!("`{}` has two different names", path.as_str());
            drop(report.error(name.at, message).hint("keep `name:` and write `external: true`"));
        }
    }
    node
}
