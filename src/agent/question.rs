//! Asks this host's resolver as a container would, over the network. Judges nothing.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use muster_dns::hickory_proto::op::{Message, Query, ResponseCode};
use muster_dns::hickory_proto::rr::{Name, RecordType};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::resolver::{PORT, VERSION};
use crate::api::{NameReport, ResolverReport};

/// A name that every resolver of the Internet knows, and that seldom changes.
const OUTSIDE: &str = "a.root-servers.net";
/// A resolver gives up on others after some seconds, and then says so.
const PATIENCE: Duration = Duration::from_secs(6);

/// How the resolver at `address`, one of this host's own, answers.
pub(super) async fn report(address: Ipv4Addr) -> ResolverReport {
    let (cluster, outside) = tokio::join!(
        look_up(address, PORT, VERSION, RecordType::TXT),
        look_up(address, PORT, OUTSIDE, RecordType::A)
    );
    ResolverReport { address, cluster, outside }
}

async fn look_up(resolver: Ipv4Addr, port: u16, name: &str, kind: RecordType) -> NameReport {
    let begun = Instant::now();
    let answer = timeout(PATIENCE, ask(resolver, port, name, kind)).await;
    let silence = || Err(format!("no answer within {} s", PATIENCE.as_secs()));
    match answer.unwrap_or_else(|_| silence()) {
        Ok(()) => {
            let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            NameReport { name: name.to_owned(), took_us: Some(took), error: None }
        }
        Err(error) => NameReport { name: name.to_owned(), took_us: None, error: Some(error) },
    }
}

async fn ask(resolver: Ipv4Addr, port: u16, name: &str, kind: RecordType) -> Result<(), String> {
    let words = |error: &dyn std::error::Error| error.to_string();
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    let name = Name::from_ascii(name).map_err(|error| words(&error))?;
    question.add_query(Query::query(name, kind));
    let bytes = question.to_vec().map_err(|error| words(&error))?;
    // From the pool: nobody else is answered.
    let socket = UdpSocket::bind((resolver, 0)).await;
    let socket = socket.map_err(|error| format!("cannot ask from {resolver}: {error}"))?;
    socket.connect((resolver, port)).await.map_err(|error| words(&error))?;
    socket.send(&bytes).await.map_err(|error| words(&error))?;
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
            _ => words(&error),
        })?;
        match Message::from_vec(&buffer[..length]) {
            Ok(answer) if answer.metadata.id == question.metadata.id => return judge(&answer),
            Ok(_) | Err(_) => {}
        }
    }
}

fn judge(answer: &Message) -> Result<(), String> {
    match answer.metadata.response_code {
        ResponseCode::NoError if answer.answers.is_empty() => Err("an empty answer".to_owned()),
        ResponseCode::NoError => Ok(()),
        code => Err(format!("the answer `{code}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A resolver on loopback that answers with `code`.
    async fn check(code: ResponseCode, expected: Option<&str>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let serve = async {
            let mut buffer = [0; 512];
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
            answer.metadata.response_code = code;
            // Somebody else's answer comes first.
            let mut other = answer.clone();
            other.metadata.id = question.metadata.id.wrapping_add(1);
            other.metadata.response_code = ResponseCode::NXDomain;
            for message in [other, answer] {
                socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
            }
        };
        let asked = look_up(Ipv4Addr::LOCALHOST, port, OUTSIDE, RecordType::A);
        let (report, ()) = tokio::join!(asked, serve);
        assert_eq!(report.error.as_deref(), expected);
    }

    #[tokio::test]
    async fn a_bad_answer_is_told_by_its_code() {
        check(ResponseCode::ServFail, Some("the answer `Server Failure`")).await;
        check(ResponseCode::NoError, Some("an empty answer")).await;
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_on_is_told() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        drop(socket);
        let report = look_up(Ipv4Addr::LOCALHOST, port, OUTSIDE, RecordType::A).await;
        assert_eq!(report.error.as_deref(), Some("nobody listens there"));
    }
}
