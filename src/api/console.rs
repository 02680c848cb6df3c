//! Somebody in front of a program in a container: what is asked for, and the frames in which all that is
//! typed and shown travels, from the command line to an agent and between agents. Looks into none of it.
//!
//! A frame is a byte that says what it is, the length of its content as four bytes, and the content. A
//! kind that is not known is passed over, so that there can be more.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use data_encoding::BASE64;
use futures_util::{Stream, StreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ApiError;
use crate::docker::BoxStream;
use crate::model::{AppName, Hook, ServiceName, TerminalSize};

/// Header of a request: the question as JSON in base64, since the body is what is typed.
pub const CONSOLE_HEADER: &str = "muster-console";

/// The longest question: it has to fit into the head of a stream between hosts.
pub const QUESTION_MAX: usize = 48 * 1024;

/// The most that one frame holds; whoever has more to say says it in several.
pub const FRAME_MAX: usize = 64 * 1024;

/// Kind and length.
const HEAD: usize = 5;

/// `muster exec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// The App.
    pub app: AppName,
    /// The service; or the name that runs of one have.
    pub service: ServiceName,
    /// The number of the replica; none takes the lowest that runs, on the host that is asked if there
    /// is one and whoever asks is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// What, as whom, where.
    pub hook: Hook,
    /// The terminal it gets; none means three pipes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<TerminalSize>,
    /// Nobody sits in front of it: it is begun, and left alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detach: bool,
}

/// Sitting down in front of a run that was asked for with [`super::StartRun::attended`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachRequest {
    /// The App.
    pub app: AppName,
    /// The name its replica has.
    pub name: ServiceName,
    /// Its number.
    pub run: u32,
}

/// One piece of what goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// Typed.
    Input(Bytes),
    /// Nothing more is typed.
    InputEnd,
    /// The terminal of whoever types has this size.
    Resize(TerminalSize),
    /// The first one from the program: it was begun.
    Begun,
    /// Written to standard output, or to the terminal.
    Output(Bytes),
    /// Written to standard error.
    Errors(Bytes),
    /// The exit code. Nothing follows.
    Ended(i64),
    /// Why it goes no further. Nothing follows.
    Failed(ApiError),
    /// Nothing happens: whoever can still be told is there.
    Alive,
}

/// Frames; an item that is an error is the last, and means that whoever sent them is gone.
pub type Frames = BoxStream<Result<Frame, ApiError>>;

const INPUT: u8 = 1;
const INPUT_END: u8 = 2;
const RESIZE: u8 = 3;
const BEGUN: u8 = 4;
const OUTPUT: u8 = 5;
const ERRORS: u8 = 6;
const ENDED: u8 = 7;
const FAILED: u8 = 8;
const ALIVE: u8 = 9;

impl Frame {
    /// Whether nothing follows it.
    pub fn is_last(&self) -> bool {
        match self {
            Self::Ended(_) | Self::Failed(_) => true,
            Self::Input(_)
            | Self::InputEnd
            | Self::Resize(_)
            | Self::Begun
            | Self::Output(_)
            | Self::Errors(_)
            | Self::Alive => false,
        }
    }

    /// As bytes for the wire. What is longer than [`FRAME_MAX`] becomes several frames.
    pub fn encode(&self) -> Bytes {
        let (kind, content) = match self {
            Self::Input(bytes) => (INPUT, bytes.clone()),
            Self::InputEnd => (INPUT_END, Bytes::new()),
            Self::Resize(TerminalSize { columns, rows }) => {
                let (columns, rows) = (columns.to_be_bytes(), rows.to_be_bytes());
                (RESIZE, Bytes::from([columns, rows].concat()))
            }
            Self::Begun => (BEGUN, Bytes::new()),
            Self::Output(bytes) => (OUTPUT, bytes.clone()),
            Self::Errors(bytes) => (ERRORS, bytes.clone()),
            Self::Ended(code) => (ENDED, Bytes::copy_from_slice(&code.to_be_bytes())),
            Self::Failed(error) => {
                let json = serde_json::to_vec(error).expect("an error is made of words");
                // Cut, it could not be read at all.
                let words =
                    ApiError { message: "it failed".to_owned(), hint: None, ..error.clone() };
                let short = || serde_json::to_vec(&words).expect("an error is made of words");
                (FAILED, Bytes::from(if json.len() > FRAME_MAX { short() } else { json }))
            }
            Self::Alive => (ALIVE, Bytes::new()),
        };
        let n_frames = content.len().div_ceil(FRAME_MAX).max(1);
        let mut encoded = BytesMut::with_capacity(n_frames * HEAD + content.len());
        let mut rest = content;
        loop {
            let piece = rest.split_to(rest.len().min(FRAME_MAX));
            encoded.put_u8(kind);
            encoded.put_u32(piece.len() as u32);
            encoded.put_slice(&piece);
            if rest.is_empty() {
                return encoded.freeze();
            }
        }
    }

    /// None when the kind is unknown.
    fn decode(kind: u8, mut content: Bytes) -> Result<Option<Self>, ApiError> {
        let fits = |length| {
            if content.len() == length { Ok(()) } else { Err(broken("one of the wrong length")) }
        };
        Ok(Some(match kind {
            INPUT => Self::Input(content),
            INPUT_END => Self::InputEnd,
            RESIZE => {
                fits(4)?;
                Self::Resize(TerminalSize { columns: content.get_u16(), rows: content.get_u16() })
            }
            BEGUN => Self::Begun,
            OUTPUT => Self::Output(content),
            ERRORS => Self::Errors(content),
            ENDED => {
                fits(8)?;
                Self::Ended(content.get_i64())
            }
            FAILED => Self::Failed(
                serde_json::from_slice(&content).map_err(|error| broken(&error.to_string()))?,
            ),
            ALIVE => Self::Alive,
            _ => return Ok(None),
        }))
    }
}

fn broken(detail: &str) -> ApiError {
    ApiError::cluster(format!("a frame cannot be read: {detail}"))
}

/// The frames of pieces of bytes, however these are cut. It ends at their end, or after an error.
pub fn decode_frames<S>(pieces: S) -> Frames
where
    S: Stream<Item = Result<Bytes, String>> + Send + Unpin + 'static,
{
    let reader = Reader { pieces, held: BytesMut::new(), ended: false };
    Box::pin(futures_util::stream::unfold(reader, |mut reader| async move {
        let item = reader.next().await?;
        reader.ended |= item.is_err();
        Some((item, reader))
    }))
}

struct Reader<S> {
    pieces: S,
    held: BytesMut,
    ended: bool,
}

impl<S: Stream<Item = Result<Bytes, String>> + Unpin> Reader<S> {
    async fn next(&mut self) -> Option<Result<Frame, ApiError>> {
        while !self.ended {
            match self.take().transpose() {
                Some(frame) => return Some(frame),
                None if self.is_whole() => continue,
                None => {}
            }
            match self.pieces.next().await {
                Some(Ok(piece)) => self.held.extend_from_slice(&piece),
                Some(Err(detail)) => {
                    return Some(Err(ApiError::cluster(format!("the connection broke: {detail}"))));
                }
                None => {
                    self.ended = true;
                    // What breaks off in the middle of a frame has not ended well.
                    return (!self.held.is_empty()).then(|| Err(broken("it is cut off")));
                }
            }
        }
        None
    }

    fn length(&self) -> Option<usize> {
        let length = self.held.get(1..HEAD)?;
        Some(u32::from_be_bytes(length.try_into().expect("they are four")) as usize)
    }

    fn is_whole(&self) -> bool {
        self.length().is_some_and(|length| self.held.len() >= HEAD + length)
    }

    /// A frame that is whole; none also when it was of an unknown kind.
    fn take(&mut self) -> Result<Option<Frame>, ApiError> {
        let Some(length) = self.length() else { return Ok(None) };
        if length > FRAME_MAX {
            return Err(broken("it is too long"));
        }
        if !self.is_whole() {
            return Ok(None);
        }
        let head = self.held.split_to(HEAD);
        Frame::decode(head[0], self.held.split_to(length).freeze())
    }
}

/// The value of [`CONSOLE_HEADER`].
///
/// # Errors
///
/// When it is longer than [`QUESTION_MAX`].
pub fn to_header<T: Serialize>(question: &T) -> Result<String, ApiError> {
    let json = serde_json::to_vec(question).expect("a question is strings, numbers and maps");
    if json.len() > QUESTION_MAX {
        let words = format!(
            "the command and its variables are longer than {} KiB together",
            QUESTION_MAX / 1024
        );
        return Err(ApiError::user(words).hint("hand it over on standard input"));
    }
    Ok(BASE64.encode(&json))
}

/// Reads the value of [`CONSOLE_HEADER`].
///
/// # Errors
///
/// When it is no base64 or no question.
pub fn from_header<T: DeserializeOwned>(value: &[u8]) -> Result<T, ApiError> {
    let unread = |detail: String| {
        ApiError::user(format!("header `{CONSOLE_HEADER}` cannot be read: {detail}"))
    };
    let json = BASE64.decode(value).map_err(|error| unread(error.to_string()))?;
    serde_json::from_slice(&json).map_err(|error| unread(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Frame> {
        vec![
            Frame::Begun,
            Frame::Input(Bytes::from_static(b"\0\xff typed")),
            Frame::Resize(TerminalSize { columns: 300, rows: 7 }),
            Frame::InputEnd,
            Frame::Alive,
            Frame::Output(Bytes::from_static(b"out")),
            Frame::Errors(Bytes::from_static(b"err")),
            Frame::Failed(ApiError::user("no").hint("yes")),
            Frame::Ended(-1),
        ]
    }

    async fn read(pieces: Vec<Result<Bytes, String>>) -> Vec<Result<Frame, String>> {
        let frames = decode_frames(futures_util::stream::iter(pieces));
        frames.map(|frame| frame.map_err(|error| error.message)).collect().await
    }

    #[tokio::test]
    async fn frames_come_whole_however_they_are_cut() {
        let bytes: Vec<u8> = all().iter().flat_map(|frame| frame.encode().to_vec()).collect();
        let whole: Vec<_> = all().into_iter().map(Ok).collect();
        for size in [1, 3, 7, 4096] {
            let pieces = bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece)));
            assert_eq!(read(pieces.collect()).await, whole, "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn what_is_long_is_several_frames() {
        let long = Bytes::from(vec![7; 2 * FRAME_MAX + 1]);
        let frames = read(vec![Ok(Frame::Output(long.clone()).encode())]).await;
        assert_eq!(frames.len(), 3);
        let all: Vec<u8> = frames
            .into_iter()
            .flat_map(|frame| match frame {
                Ok(Frame::Output(bytes)) => bytes.to_vec(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(all, long);
        let words = "x".repeat(FRAME_MAX);
        let failed = read(vec![Ok(Frame::Failed(ApiError::user(words)).encode())]).await;
        assert_eq!(failed, [Ok(Frame::Failed(ApiError::user("it failed")))]);
    }

    #[tokio::test]
    async fn an_unknown_kind_is_passed_over_and_what_is_broken_is_an_error() {
        let known = Frame::Ended(3).encode();
        let unknown = Bytes::from_static(&[200, 0, 0, 0, 2, 1, 2]);
        assert_eq!(read(vec![Ok(unknown), Ok(known.clone())]).await, [Ok(Frame::Ended(3))]);
        for (bytes, words) in [
            (&[OUTPUT, 0, 1, 0, 1][..], "a frame cannot be read: it is too long"),
            (&[RESIZE, 0, 0, 0, 1, 1], "a frame cannot be read: one of the wrong length"),
            (&[OUTPUT, 0, 0, 0, 9, 1], "a frame cannot be read: it is cut off"),
        ] {
            let frames = read(vec![Ok(Bytes::copy_from_slice(bytes))]).await;
            assert_eq!(frames, [Err(words.to_owned())]);
        }
        let frames = read(vec![Err("reset".to_owned()), Ok(known)]).await;
        assert_eq!(frames, [Err("the connection broke: reset".to_owned())]);
    }

    #[test]
    fn a_question_survives_the_header_and_is_not_too_long() {
        let mut request = ExecRequest {
            app: "shop".into(),
            service: "web".into(),
            index: Some(2),
            hook: Hook { command: vec!["sh".to_owned(), "ü\n".to_owned()], ..Hook::default() },
            terminal: Some(TerminalSize { columns: 80, rows: 24 }),
            detach: false,
        };
        let header = to_header(&request).unwrap();
        assert_eq!(from_header::<ExecRequest>(header.as_bytes()), Ok(request.clone()));
        assert!(from_header::<AttachRequest>(b"?").is_err());
        request.hook.command.push("x".repeat(QUESTION_MAX));
        assert!(to_header(&request).unwrap_err().hint.is_some());
    }
}
