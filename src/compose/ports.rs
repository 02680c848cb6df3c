//! The short form of ports: `[[address:]published:]target[/protocol]`, with ranges.
//!
//! Text in, long forms out; no tree, no files.

use std::net::IpAddr;

/// One port in long form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LongPort {
    /// Address listened on; empty for all.
    pub(crate) host_ip: String,
    /// Published port or range; empty for any.
    pub(crate) published: String,
    /// Port in the container.
    pub(crate) target: u16,
    /// `tcp`, `udp` or `sctp`.
    pub(crate) protocol: String,
}

/// Reads a short form. The error is a reason in words.
pub(crate) fn parse(text: &str) -> Result<Vec<LongPort>, String> {
    let (host_ip, published, container) = split(text);
    let (container, protocol) = match container.split_once('/') {
        Some((_, "")) => return Err("the protocol after `/` is missing".to_owned()),
        Some((port, protocol)) => (port, protocol.to_ascii_lowercase()),
        None => (container, "tcp".to_owned()),
    };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("`{protocol}` is no protocol; there are `tcp`, `udp` and `sctp`"));
    }
    let host_ip = host_ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(host_ip);
    if !host_ip.is_empty() && host_ip.parse::<IpAddr>().is_err() {
        return Err(format!("`{host_ip}` is not an IP address"));
    }
    if container.is_empty() {
        return Err("the port in the container is missing".to_owned());
    }
    let (first, last) = range(container)?;
    let outside = if published.is_empty() { None } else { Some(range(published)?) };
    if let Some((start, end)) = outside
        && end - start != last - first
        && first != last
    {
        return Err(format!("ranges `{published}` and `{container}` differ in length"));
    }
    let mut ports: Vec<LongPort> = (first..=last)
        .map(|target| {
            let published = match outside {
                None => String::new(),
                Some((start, end)) if first == last && start != end => format!("{start}-{end}"),
                Some((start, _)) => (start + (target - first)).to_string(),
            };
            LongPort { host_ip: host_ip.to_owned(), published, target, protocol: protocol.clone() }
        })
        .collect();
    // The reference sorts a range by the text of its ports.
    ports.sort_by_cached_key(|port| port.target.to_string());
    Ok(ports)
}

/// Address, published, container; an IPv6 address has colons of its own.
fn split(text: &str) -> (&str, &str, &str) {
    let Some((rest, container)) = text.rsplit_once(':') else { return ("", "", text) };
    match rest.rsplit_once(':') {
        Some((address, published)) => (address, published, container),
        None => ("", rest, container),
    }
}

fn range(text: &str) -> Result<(u16, u16), String> {
    let number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let value = part.parse::<u16>().ok().filter(|_| digits);
        value.ok_or_else(|| format!("`{part}` is not a port between 0 and 65535"))
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    if last < first {
        return Err(format!("range `{text}` ends before it begins"));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let shown: Vec<String> = parse(text)
            .unwrap()
            .iter()
            .map(|p| format!("{}|{}|{}/{}", p.host_ip, p.published, p.target, p.protocol))
            .collect();
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn all_short_forms() {
        check("80", &["||80/tcp"]);
        check("8080:80", &["|8080|80/tcp"]);
        check(":80", &["||80/tcp"]);
        check("127.0.0.1::80", &["127.0.0.1||80/tcp"]);
        check("127.0.0.1:8080:80/UDP", &["127.0.0.1|8080|80/udp"]);
        check("[::1]:8080:80", &["::1|8080|80/tcp"]);
        check("::1:8080:80", &["::1|8080|80/tcp"]);
        check("8000-8001:80-81", &["|8000|80/tcp", "|8001|81/tcp"]);
        check("8000-8010:80", &["|8000-8010|80/tcp"]);
        check("9-10", &["||10/tcp", "||9/tcp"]);
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, words) in [
            ("", "missing"),
            ("80:", "missing"),
            ("x:80", "`x` is not a port"),
            ("80:70000", "`70000` is not a port"),
            ("8000-8002:80-81", "differ in length"),
            ("90-80", "ends before it begins"),
            ("80/icmp", "no protocol"),
            ("80/", "missing"),
            ("host:80:80", "`host` is not an IP address"),
            ("+80", "not a port"),
        ] {
            let reason = parse(text).unwrap_err();
            assert!(reason.contains(words), "{text}: {reason}");
        }
    }
}
