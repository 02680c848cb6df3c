//! The issuer's side of joining. The token is spent on disk first; only then the agent is asked.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use quinn::{Connection, VarInt};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::{ANSWER, Admitted, Answer, JoinHello, Question, VERSION, proof_message};
use crate::swarm::clock::WallClock;
use crate::swarm::connection::BUSY;
use crate::swarm::identity::{Identity, host_of_public};
use crate::swarm::tls;
use crate::swarm::token::Secret;
use crate::swarm::tokens::{RedeemError, Tokens};
use crate::swarm::transport::Incoming;

/// Hosts that join at once; others are told to try again. Strangers can fill these places, but no
/// more memory than they hold, and not what members use.
const JOINING_MAX: usize = 16;
/// Bytes of a question.
const QUESTION_MAX: usize = 64 * 1024;
/// A question comes whole within this time.
const READ: Duration = Duration::from_secs(10);
/// The agent says within this time whether it takes a host; less than the host waits.
const AGENT: Duration = Duration::from_secs(20);

/// Admits hosts.
pub(in crate::swarm) struct Issuer {
    identity: watch::Receiver<Identity>,
    tokens: Tokens,
    clock: WallClock,
    incoming: mpsc::Sender<Incoming>,
    joining: Semaphore,
}

/// A question that makes sense, from whoever holds the key it is about.
struct Asked {
    secret: Secret,
    public_key: [u8; 32],
    /// Where it asks from, with the port it will listen on.
    seen: SocketAddr,
    /// Where it will be reached.
    address: SocketAddr,
    hello: JoinHello,
}

impl Issuer {
    pub(in crate::swarm) fn new(
        identity: watch::Receiver<Identity>,
        tokens: Tokens,
        clock: WallClock,
        incoming: mpsc::Sender<Incoming>,
    ) -> Self {
        Self { identity, tokens, clock, incoming, joining: Semaphore::new(JOINING_MAX) }
    }

    /// Serves one host that joins.
    pub(in crate::swarm) async fn serve(&self, connection: Connection) {
        let Ok(_place) = self.joining.try_acquire() else {
            connection.close(BUSY, b"too many hosts join at once");
            return;
        };
        // Whoever does not ask in time, or goes, gets no answer.
        let served = tokio::time::timeout(ANSWER, self.converse(&connection)).await;
        if served.is_err() {
            tracing::info!(address = %connection.remote_address(), "a join took too long");
        }
        connection.close(VarInt::from_u32(0), b"done");
    }

    async fn converse(&self, connection: &Connection) {
        let asked = tokio::time::timeout(READ, async {
            let (send, mut receive) = connection.accept_bi().await.ok()?;
            let question = receive.read_to_end(QUESTION_MAX).await.ok()?;
            Some((send, question))
        });
        let Ok(Some((mut send, question))) = asked.await else { return };
        let answer = match check(connection, &question) {
            Ok(asked) => self.answer(asked).await,
            Err(answer) => answer,
        };
        let answer = serde_json::to_vec(&answer).expect("strings and numbers");
        if send.write_all(&answer).await.is_ok() && send.finish().is_ok() {
            // The connection is closed next: not before the other side has it all.
            let _ = send.stopped().await;
        }
    }

    async fn answer(&self, asked: Asked) -> Answer {
        let host = asked.hello.host.clone();
        let unable = |error: &dyn std::fmt::Display| Answer::Unable(error.to_string());
        let (tokens, secret, joining) = (self.tokens.clone(), asked.secret.clone(), host.clone());
        let (from, now) = (asked.seen, self.clock.now());
        let redeem = move || tokens.redeem(&secret, &joining, from, now);
        let redeemed = tokio::task::spawn_blocking(redeem).await;
        match redeemed {
            Ok(Ok(())) => tracing::info!(%host, address = %asked.address, "token redeemed"),
            Ok(Err(error)) => {
                tracing::warn!(%host, address = %asked.address, %error, "token refused");
                return match error {
                    RedeemError::Unknown => Answer::Unknown,
                    RedeemError::Used => Answer::Used,
                    RedeemError::Expired => Answer::Expired,
                    RedeemError::Store(error) => unable(&error),
                };
            }
            Err(error) => return unable(&error),
        }
        let secret = asked.secret.clone();
        match self.admit(asked).await {
            Ok(admitted) => Answer::Admitted(Box::new(admitted)),
            Err(answer) => {
                let tokens = self.tokens.clone();
                let back =
                    tokio::task::spawn_blocking(move || tokens.give_back(&secret, &host)).await;
                if let Ok(Err(error)) = back {
                    tracing::warn!(%error, "a token stays spent though nobody joined with it");
                }
                answer
            }
        }
    }

    /// Asks the agent, then signs.
    async fn admit(&self, asked: Asked) -> Result<Admitted, Answer> {
        let Asked { secret: _, public_key, seen: _, address, hello } = asked;
        let host = hello.host.clone();
        let stopping = || Answer::Unable("its agent is stopping, or busy".to_owned());
        let (reply, answer) = oneshot::channel();
        let join = Incoming::Join { address, hello, reply };
        self.incoming.send(join).await.map_err(|_| stopping())?;
        let answer = tokio::time::timeout(AGENT, answer).await.map_err(|_| stopping())?;
        let welcome: Bytes = answer.map_err(|_| stopping())?.map_err(Answer::Refused)?;
        let identity = self.identity.borrow().clone();
        let admission = identity.admit(public_key, self.clock.now());
        let admission = admission.map_err(|error| Answer::Unable(error.to_string()))?;
        tracing::info!(%host, %address, "host admitted");
        let issuer = identity.host().clone();
        Ok(Admitted { admission, issuer, address, welcome: BASE64.encode(&welcome) })
    }
}

fn check(connection: &Connection, question: &[u8]) -> Result<Asked, Answer> {
    let unable = |reason: &str| Answer::Unable(reason.to_owned());
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    // Read alone, so that a question of another version need not look like ours.
    let version: Version =
        serde_json::from_slice(question).map_err(|_| unable("it cannot read the question"))?;
    if version.version != VERSION {
        return Err(Answer::Version(VERSION));
    }
    let question: Question =
        serde_json::from_slice(question).map_err(|_| unable("it cannot read the question"))?;
    let secret = HEXLOWER.decode(question.secret.as_bytes()).ok();
    let secret = secret.and_then(|bytes| bytes.try_into().ok()).ok_or(Answer::Unknown)?;
    let proven = || {
        let public_key = BASE64.decode(question.public_key.as_bytes()).ok()?;
        let public_key: [u8; 32] = public_key.try_into().ok()?;
        let proof = BASE64.decode(question.proof.as_bytes()).ok()?;
        let message = proof_message(connection, &public_key)?;
        tls::signed_by(&public_key, &message, &proof).then_some(public_key)
    };
    let public_key = proven().ok_or_else(|| unable("the key is not proven"))?;
    let seen = SocketAddr::new(connection.remote_address().ip().to_canonical(), question.port);
    Ok(Asked {
        secret: Secret(secret),
        public_key,
        seen,
        address: question.advertise.unwrap_or(seen),
        hello: JoinHello {
            host: host_of_public(public_key),
            name: question.name,
            agent_version: question.agent_version,
        },
    })
}
