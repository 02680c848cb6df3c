//! The address of a page, as far as an agent fetches pages: plain HTTP.

/// `http://host:port/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    /// A name or an address; one of IPv6 without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path with its query.
    pub path: String,
}

impl HttpUrl {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let Some(rest) = text.strip_prefix("http://") else {
            return Err("it does not begin with `http://`");
        };
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it has letters or blanks that an address cannot have");
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        let path = match path {
            "" => "/".to_owned(),
            path if path.starts_with('?') => format!("/{path}"),
            path => path.to_owned(),
        };
        if authority.contains('@') {
            return Err("it names a user, which is not sent");
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or("a bracket is not closed")?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        if host.is_empty() {
            return Err("it names no host");
        }
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or("its port is none")?,
            None if port.is_empty() => 80,
            None => return Err("its port is none"),
        };
        Ok(Self { host: host.to_owned(), port, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_a_port_and_a_path() {
        let cases = [
            ("http://queue", ("queue", 80, "/")),
            ("http://queue:9090/metrics?a=b#c", ("queue", 9090, "/metrics?a=b")),
            ("http://queue?a=b", ("queue", 80, "/?a=b")),
            ("http://[fd00::1]:80/x", ("fd00::1", 80, "/x")),
            ("http://10.0.0.1:1/", ("10.0.0.1", 1, "/")),
        ];
        for (text, (host, port, path)) in cases {
            let expected = HttpUrl { host: host.to_owned(), port, path: path.to_owned() };
            assert_eq!(HttpUrl::parse(text), Ok(expected), "{text}");
        }
        for wrong in [
            "",
            "queue",
            "https://queue",
            "http://",
            "http:///x",
            "http://a:b",
            "http://a:0",
            "http://a:99999",
            "http://me@a",
            "http://a b",
            "http://[fd00::1",
            "http://[::1]x",
            "http://ä",
        ] {
            assert!(HttpUrl::parse(wrong).is_err(), "{wrong}");
        }
    }
}
