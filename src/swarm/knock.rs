//! Whether a kernel lives, its processes aside.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

/// One loss is made up for: the kernel asks again after a second.
const LIMIT: Duration = Duration::from_secs(2);

/// Whether the host of `address` takes or refuses a TCP connection (RFC 9293, 3.10.7.1: a port
/// without a listener is answered with a reset). Nothing has to listen there.
pub async fn knock(address: SocketAddr) -> bool {
    match timeout(LIMIT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => error.kind() == ErrorKind::ConnectionRefused,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_kernel_answers_whether_somebody_listens_or_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        assert!(knock(address).await);
        drop(listener);
        assert!(knock(address).await);
    }

    #[tokio::test]
    async fn an_address_that_leads_nowhere_does_not_answer() {
        // No route leads to a broadcast address for TCP.
        assert!(!knock("255.255.255.255:9".parse().expect("an address")).await);
    }
}
