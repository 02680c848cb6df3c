//! The issuer's side of joining, for hosts and for operators. The token is spent on disk first; only then the agent is asked.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use quinn::{Connection, VarInt};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::enrol::{Enrolment, OPERATOR_VERSION};
use super::{
    ANSWER, Admitted, Answer, Granted, JoinHello, JoinRefused, Proof, Question, VERSION,
    proof_message,
};
use crate::swarm::clock::WallClock;
use crate::swarm::connection::BUSY;
use crate::swarm::identity::{Identity, host_of_public};
use crate::swarm::tls;
use crate::swarm::token::Secret;
use crate::swarm::tokens::{Invitation, Purpose, RedeemError, Tokens, Wish};
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

/// Admits hosts, and lets operators in.
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
    /// Where it asks from; a host's with the port it will listen on.
    seen: SocketAddr,
    asking: Asking,
}

/// As what somebody asks to come in.
enum Asking {
    Host {
        /// Where it will be reached.
        address: SocketAddr,
        hello: JoinHello,
    },
    Operator,
}

impl Asking {
    fn wish(&self) -> Wish {
        match self {
            Self::Host { .. } => Wish::Host,
            Self::Operator => Wish::Operator,
        }
    }
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
        let host = host_of_public(asked.public_key);
        let unable = |error: &dyn std::fmt::Display| Answer::Unable(error.to_string());
        let (tokens, secret, joining) = (self.tokens.clone(), asked.secret.clone(), host.clone());
        let (wish, from, now) = (asked.asking.wish(), asked.seen, self.clock.now());
        let redeem = move || tokens.redeem(&secret, wish, &joining, from, now);
        let redeemed = tokio::task::spawn_blocking(redeem).await;
        let purpose = match redeemed {
            Ok(Ok(purpose)) => purpose,
            Ok(Err(error)) => {
                tracing::warn!(%host, address = %asked.seen, %error, "token refused");
                return match error {
                    RedeemError::Unknown => Answer::Unknown,
                    RedeemError::Used => Answer::Used,
                    RedeemError::Expired => Answer::Expired,
                    RedeemError::OtherPurpose(words) => Answer::OtherPurpose(words.to_owned()),
                    RedeemError::Store(error) => unable(&error),
                };
            }
            Err(error) => return unable(&error),
        };
        tracing::info!(%host, address = %asked.seen, "token redeemed");
        let Asked { secret, public_key, seen, asking } = asked;
        let answer = match (asking, purpose) {
            (Asking::Host { address, hello }, Purpose::Host) => {
                let admitted = self.admit(public_key, address, hello).await;
                admitted.map(|admitted| Answer::Admitted(Box::new(admitted)))
            }
            (Asking::Operator, Purpose::Operator(invitation)) => {
                let granted = self.let_in(public_key, seen, invitation).await;
                granted.map(|granted| Answer::Granted(Box::new(granted)))
            }
            (Asking::Host { .. }, Purpose::Operator(_)) | (Asking::Operator, Purpose::Host) => {
                Err(Answer::Unable("bug: the token is for something else".to_owned()))
            }
        };
        match answer {
            Ok(answer) => answer,
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
    async fn admit(
        &self,
        public_key: [u8; 32],
        address: SocketAddr,
        hello: JoinHello,
    ) -> Result<Admitted, Answer> {
        let host = hello.host.clone();
        let (reply, answer) = oneshot::channel();
        let welcome = self.ask(Incoming::Join { address, hello, reply }, answer).await?;
        let identity = self.identity.borrow().clone();
        let admission = identity.admit(public_key, self.clock.now());
        let admission = admission.map_err(|error| Answer::Unable(error.to_string()))?;
        tracing::info!(%host, %address, "host admitted");
        let issuer = identity.host().clone();
        Ok(Admitted { admission, issuer, address, welcome: BASE64.encode(&welcome) })
    }

    /// Asks the agent, then signs. The name and the role are those of the invitation.
    async fn let_in(
        &self,
        public_key: [u8; 32],
        address: SocketAddr,
        invitation: Invitation,
    ) -> Result<Granted, Answer> {
        let id = host_of_public(public_key);
        let (reply, answer) = oneshot::channel();
        let Invitation { name, role, .. } = invitation.clone();
        let enrol = Incoming::Enrol { id: id.clone(), address, invitation, reply };
        let welcome = self.ask(enrol, answer).await?;
        let identity = self.identity.borrow().clone();
        let grant = identity.grant(public_key, &name, role, self.clock.now());
        let grant = grant.map_err(|error| Answer::Unable(error.to_string()))?;
        tracing::info!(%id, name, %role, %address, "operator let in");
        Ok(Granted { grant, issuer: identity.host().clone(), welcome: BASE64.encode(&welcome) })
    }

    /// What the agent says to somebody whose token is good.
    async fn ask(
        &self,
        incoming: Incoming,
        answer: oneshot::Receiver<Result<Bytes, JoinRefused>>,
    ) -> Result<Bytes, Answer> {
        let stopping = || Answer::Unable("its agent is stopping, or busy".to_owned());
        self.incoming.send(incoming).await.map_err(|_| stopping())?;
        let answer = tokio::time::timeout(AGENT, answer).await.map_err(|_| stopping())?;
        answer.map_err(|_| stopping())?.map_err(Answer::Refused)
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
    let unread = |_| unable("it cannot read the question");
    let address = connection.remote_address();
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    match version.version {
        VERSION => {
            let question: Question = serde_json::from_slice(question).map_err(unread)?;
            let (secret, public_key) = proven(connection, &question.proof)?;
            let seen = SocketAddr::new(address.ip(), question.port);
            let hello = JoinHello {
                host: host_of_public(public_key),
                name: question.name,
                agent_version: question.agent_version,
            };
            let asking = Asking::Host { address: question.advertise.unwrap_or(seen), hello };
            Ok(Asked { secret, public_key, seen, asking })
        }
        OPERATOR_VERSION => {
            let Enrolment { version: _, proof } =
                serde_json::from_slice(question).map_err(unread)?;
            let (secret, public_key) = proven(connection, &proof)?;
            Ok(Asked { secret, public_key, seen: address, asking: Asking::Operator })
        }
        _ => Err(Answer::Version(VERSION)),
    }
}

/// The secret, and the key that whoever is at the other end of this session holds.
fn proven(connection: &Connection, proof: &Proof) -> Result<(Secret, [u8; 32]), Answer> {
    let secret = HEXLOWER.decode(proof.secret.as_bytes()).ok();
    let secret = secret.and_then(|bytes| bytes.try_into().ok()).ok_or(Answer::Unknown)?;
    let proven = || {
        let public_key = BASE64.decode(proof.public_key.as_bytes()).ok()?;
        let public_key: [u8; 32] = public_key.try_into().ok()?;
        let signature = BASE64.decode(proof.proof.as_bytes()).ok()?;
        let message = proof_message(connection, &public_key)?;
        tls::signed_by(&public_key, &message, &signature).then_some(public_key)
    };
    let public_key = proven().ok_or_else(|| Answer::Unable("the key is not proven".to_owned()))?;
    Ok((Secret(secret), public_key))
}
