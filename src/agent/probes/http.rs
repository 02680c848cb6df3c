//! One request, of whose answer only the status is read.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::words;

/// Bytes in which the first line of an answer must end.
pub(super) const LINE_MAX: usize = 1024;

/// What is asked where.
#[derive(Debug, Clone)]
pub(super) struct Get {
    pub(super) to: SocketAddr,
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
}

impl Get {
    /// The request as it is sent. What the file gave was checked when it was read.
    pub(super) fn text(&self) -> String {
        let named =
            |wanted: &str| self.headers.keys().any(|name| name.eq_ignore_ascii_case(wanted));
        let mut text = format!("GET {} HTTP/1.1\r\n", self.path);
        if !named("host") {
            text += &format!("Host: {}\r\n", self.to);
        }
        if !named("user-agent") {
            text += "User-Agent: muster\r\n";
        }
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text + "Connection: close\r\n\r\n"
    }
}

/// The status of the answer. Has no end of its own: who asks sets a limit.
pub(super) async fn status(get: &Get) -> Result<u16, String> {
    let mut stream = TcpStream::connect(get.to).await.map_err(|error| words(&error))?;
    stream.write_all(get.text().as_bytes()).await.map_err(|error| words(&error))?;
    let mut read = Vec::with_capacity(LINE_MAX);
    loop {
        if let Some(status) = first_line(&read)? {
            return Ok(status);
        }
        let n = stream.read_buf(&mut read).await.map_err(|error| words(&error))?;
        if n == 0 {
            return Err("the connection was closed without an answer".to_owned());
        }
    }
}

/// The status, once the first line is there.
pub(super) fn first_line(read: &[u8]) -> Result<Option<u16>, String> {
    let foreign = || "the answer is not HTTP".to_owned();
    let Some(end) = read.iter().position(|byte| *byte == b'\n') else {
        return if read.len() >= LINE_MAX { Err(foreign()) } else { Ok(None) };
    };
    let line = String::from_utf8_lossy(&read[..end]);
    let mut words = line.split_ascii_whitespace();
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    let status = words.next().and_then(|word| word.parse().ok());
    status.filter(|_| is_http).map(Some).ok_or_else(foreign)
}
