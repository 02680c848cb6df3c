//! One page over HTTP/1.1. Follows nobody elsewhere, and keeps no connection.

use std::net::SocketAddr;
use std::pin::pin;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::model::HttpUrl;
use crate::telemetry::chain;

/// The largest page: what a busy server tells Prometheus is some hundred kilobytes.
const PAGE_MAX: usize = 4 << 20;

/// Fetches a page of whoever has this address.
///
/// # Errors
///
/// Why there is none, for people.
pub(super) async fn get(url: &HttpUrl, address: SocketAddr) -> Result<Bytes, String> {
    let failed = |words: &dyn std::error::Error| format!("`{}`: {}", url.host, chain(words));
    let stream = TcpStream::connect(address).await.map_err(|error| failed(&error))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| failed(&error))?;
    let exchange = async {
        let request = Request::get(&url.path)
            .header(header::HOST, host(url))
            .header(header::USER_AGENT, concat!("muster/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "text/plain, application/json, */*")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| failed(&error))?;
        let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("`{}` answered with HTTP status {}", url.host, answer.status()));
        }
        let page = Limited::new(answer.into_body(), PAGE_MAX).collect().await;
        let page = page.map_err(|error| failed(&*error))?;
        Ok(page.to_bytes())
    };
    let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
    let mut ended = false;
    loop {
        // Both go on where they were. A connection that ended may have left a page to be read.
        tokio::select! {
            biased;
            page = &mut exchange => return page,
            _ = &mut connection, if !ended => ended = true,
        }
    }
}

fn host(url: &HttpUrl) -> String {
    let name = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    if url.port == 80 { name } else { format!("{name}:{}", url.port) }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// What is made of an answer.
    async fn fetched(answer: Vec<u8>) -> Result<Bytes, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let read = stream.read_buf(&mut head).await.unwrap();
                assert!(read > 0, "the request has a head");
            }
            // It may be given up half-way.
            let _ = stream.write_all(&answer).await;
            head
        };
        let url = HttpUrl::parse("http://queue:9090/metrics?a=b").unwrap();
        let (page, head) = tokio::join!(get(&url, address), server);
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("GET /metrics?a=b HTTP/1.1\r\nhost: queue:9090\r\n"), "{head}");
        page
    }

    #[tokio::test]
    async fn a_page_is_fetched_whole_or_not_at_all() {
        let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\njobs\n".to_vec();
        assert_eq!(fetched(ok).await.unwrap(), "jobs\n");
        let pieces = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\njo\r\n3\r\nbs\n\r\n0\r\n\r\n";
        assert_eq!(fetched(pieces.to_vec()).await.unwrap(), "jobs\n");
        let until_end = b"HTTP/1.0 200 OK\r\n\r\njobs\n".to_vec();
        assert_eq!(fetched(until_end).await.unwrap(), "jobs\n");
        let short = b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\njobs\n".to_vec();
        assert!(fetched(short).await.is_err());
        let gone = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec();
        let words = fetched(gone).await.unwrap_err();
        assert_eq!(words, "`queue` answered with HTTP status 404 Not Found");
        assert!(fetched(b"\x00\x01".to_vec()).await.is_err());
        assert!(fetched(Vec::new()).await.is_err());
        let mut huge = b"HTTP/1.0 200 OK\r\n\r\n".to_vec();
        huge.resize(PAGE_MAX + 100, b'a');
        assert!(fetched(huge).await.is_err());
    }
}
